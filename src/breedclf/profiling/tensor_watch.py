"""Looks at tensors every so many steps: a few reductions on the device, never the tensors themselves."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from breedclf.profiling.profile import TensorKind, TensorSeries

LOOK_EVERY = 10
MOST_LOOKS = 1_000
# Inputs beyond these lie where the gradient of the function is zero in single precision.
_SATURATED = {nn.Tanh: ("tanh", -9.4999, 9.4999), nn.Sigmoid: ("sigmoid", -23.0, 16.99999)}
_INACTIVE_SHARE = 0.01
_EPSILON = 1e-9


class TensorWatch:
    """Keeps the reductions of watched networks; `seconds` is what taking them cost."""

    def __init__(self, every: int = LOOK_EVERY) -> None:
        self.every = every
        self.seconds = 0.0
        self.looks = 0
        self._columns: dict[tuple[TensorKind, str, str], list[tuple[int, dict[str, torch.Tensor]]]] = defaultdict(list)
        self._trained: list[tuple[str, nn.Parameter, str]] = []
        self._seen: dict[str, torch.Tensor] = {}
        self._before: dict[str, torch.Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._step = 0
        self._looking = False

    def watch(self, module: nn.Module, optimizer: Optimizer | None) -> None:
        """Look at a network's activations, and when it is trained at its weights and gradients."""
        if optimizer is not None:
            kinds = {id(p): _layer_kind(m) for m in module.modules() for p in m.parameters(recurse=False)}
            self._trained = [(n, p, kinds[id(p)]) for n, p in module.named_parameters() if p.requires_grad]
        for name, layer in module.named_modules():
            if isinstance(layer, nn.ReLU | nn.Tanh | nn.Sigmoid) or getattr(layer, "activation", None) == "relu":
                self._hooks.append(layer.register_forward_hook(self._activation_hook(name)))
        self._hooks.append(module.register_forward_pre_hook(self._input_hook))

    def due(self, step: int) -> bool:
        """Whether this step is looked at; every look doubles the distance once there are very many."""
        if self.looks >= MOST_LOOKS:
            self.every *= 2
            self.looks //= 2
        self._looking = step % self.every == 0
        self._step = step
        return self._looking

    def after_backward(self) -> None:
        """Gradients, and the weights before their update."""
        started = time.perf_counter()
        with torch.no_grad():
            for name, weight, kind in self._trained:
                if weight.grad is not None:
                    self._add("gradient", name, kind, _common(weight.grad))
                self._before[name] = weight.detach().clone()
        self.seconds += time.perf_counter() - started

    def after_optimizer(self) -> None:
        """Weights, and how far they moved: in this step, and since the look before."""
        started = time.perf_counter()
        self.looks += 1
        with torch.no_grad():
            for name, weight, kind in self._trained:
                size = weight.abs().mean()
                measures = {**_common(weight), "std": weight.float().std(correction=0)}
                if name in self._seen:
                    moved = (weight - self._seen[name]).abs().mean()
                    measures["change"] = moved / (size + _EPSILON)
                else:
                    measures["change"] = torch.ones(())
                self._seen[name] = weight.detach().clone()
                self._add("weight", name, kind, measures)
                if name in self._before and (looks := self._columns[("gradient", name, kind)]):
                    update = (weight - self._before[name]).abs().mean()
                    before = self._before[name].abs().mean()
                    # A layer that starts at zero has no size to compare its first update with.
                    ratio = torch.where(before > 0, update / (before + _EPSILON), torch.ones_like(update))
                    looks[-1][1]["update_ratio"] = ratio
        self._looking = False
        self.seconds += time.perf_counter() - started

    def series(self) -> tuple[TensorSeries, ...]:
        """All looks so far, brought from the device at once."""
        return tuple(_series(key, looks) for key, looks in list(self._columns.items()) if looks)

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _activation_hook(self, name: str) -> Any:
        def look(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not self._looking or not isinstance(output, torch.Tensor):
                return
            started = time.perf_counter()
            with torch.no_grad():
                detail, measures = _activation(layer, inputs[0], output)
                self._add("activation", name or detail, detail, measures)
            self.seconds += time.perf_counter() - started

        return look

    def _input_hook(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        del module
        # Pictures only: a layer on features has its own scale.
        if not self._looking or not inputs or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim != 4:
            return
        started = time.perf_counter()
        with torch.no_grad():
            pictures = inputs[0].float()
            self._add(
                "input",
                "pictures",
                "",
                {**_common(pictures), "mean": pictures.mean(), "std": pictures.std(correction=0)},
            )
        self.seconds += time.perf_counter() - started

    def _add(self, kind: TensorKind, name: str, detail: str, measures: dict[str, torch.Tensor]) -> None:
        self._columns[kind, name, detail].append((self._step, {k: v.detach() for k, v in measures.items()}))


def _common(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "mean_abs": tensor.abs().float().mean(),
        "zero_share": (tensor == 0).float().mean(),
        "finite": tensor.isfinite().all().float(),
    }


def _activation(layer: nn.Module, given: torch.Tensor, output: torch.Tensor) -> tuple[str, dict[str, torch.Tensor]]:
    measures = _common(output)
    for kind, (detail, low, high) in _SATURATED.items():
        if isinstance(layer, kind):
            measures["saturated_share"] = ((given < low) | (given > high)).float().mean()
            return detail, measures
    # A unit is a channel; it is inactive when almost none of its values, over pictures and places, are above zero.
    active = (output > 0).float().mean(dim=[0, *range(2, output.ndim)]) if output.ndim > 1 else (output > 0).float()
    measures["inactive_share"] = (active < _INACTIVE_SHARE).float().mean()
    return "relu", measures


def _layer_kind(module: nn.Module) -> str:
    if isinstance(module, nn.Linear):
        return "linear"
    return "conv" if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) else ""


def _series(key: tuple[TensorKind, str, str], looks: list[tuple[int, dict[str, torch.Tensor]]]) -> TensorSeries:
    kind, name, detail = key
    names = dict.fromkeys(measure for _, measures in looks for measure in measures)
    blank = torch.full((), float("nan"))
    return TensorSeries(
        name=name,
        kind=kind,
        detail=detail,
        step=np.array([step for step, _ in looks], dtype=np.int64),
        measures={m: np.array([float(measures.get(m, blank)) for _, measures in looks]) for m in names},
    )
