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
from breedclf.profiling.tensor_measures import EPSILON, Measures, common, layer_kind, relative, relu, spread, squashed

LOOK_EVERY = 10
MOST_LOOKS = 1_000
_SQUASHING = {nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
_COLOURS = 3


class TensorWatch:
    """Keeps the reductions of watched networks; `seconds` is what taking them cost."""

    def __init__(self, every: int = LOOK_EVERY) -> None:
        self.every: int = every
        self.seconds: float = 0.0
        self.looks: int = 0
        self._columns: dict[tuple[TensorKind, str, str], list[tuple[int, Measures]]] = defaultdict(list)
        self._trained: list[tuple[str, nn.Parameter, str]] = []
        self._seen: dict[str, torch.Tensor] = {}
        self._before: dict[str, torch.Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._step = 0
        self._looking = False

    def watch(self, module: nn.Module, optimizer: Optimizer | None) -> None:
        """Look at a network's activations, and when it is trained at its weights and gradients."""
        if optimizer is not None:
            kinds = {id(p): layer_kind(m) for m in module.modules() for p in m.parameters(recurse=False)}
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

    def rest(self) -> None:
        """Steps follow that aren't looked at."""
        self._looking = False

    def after_backward(self) -> None:
        """Gradients, and the weights before their update."""
        started = time.perf_counter()
        with torch.no_grad():
            for name, weight, kind in self._trained:
                if weight.grad is not None:
                    self._add("gradient", name, kind, common(weight.grad))
                self._before[name] = weight.detach().clone()
        self.seconds += time.perf_counter() - started

    def after_optimizer(self) -> None:
        """Weights, and how far they moved: in this step, and since the look before."""
        started = time.perf_counter()
        self.looks += 1
        with torch.no_grad():
            for name, weight, kind in self._trained:
                size = weight.abs().mean()
                # The spread is that of before the update, so that the first look has the initial weights'.
                measures = {**common(weight), "std": spread(self._before.get(name, weight))}
                if name in self._seen:
                    moved = (weight - self._seen[name]).abs().mean()
                    measures["change"] = moved / (size + EPSILON)
                else:
                    measures["change"] = torch.ones(())
                self._seen[name] = weight.detach().clone()
                self._add("weight", name, kind, measures)
                if name in self._before and (looks := self._columns[("gradient", name, kind)]):
                    update = (weight - self._before[name]).abs().mean()
                    before = self._before[name].abs().mean()
                    looks[-1][1]["update_ratio"] = relative(update, before)
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
        # Pictures only: a layer on features, or a stage on activations, has its own scale.
        if not self._looking or not inputs or not isinstance(inputs[0], torch.Tensor):
            return
        if inputs[0].ndim != 4 or inputs[0].shape[1] != _COLOURS:
            return
        started = time.perf_counter()
        with torch.no_grad():
            pictures = inputs[0].float()
            self._add(
                "input",
                "pictures",
                "",
                {**common(pictures), "mean": pictures.mean(), "std": spread(pictures)},
            )
        self.seconds += time.perf_counter() - started

    def _add(self, kind: TensorKind, name: str, detail: str, measures: Measures) -> None:
        self._columns[kind, name, detail].append((self._step, {k: v.detach() for k, v in measures.items()}))


def _activation(layer: nn.Module, given: torch.Tensor, output: torch.Tensor) -> tuple[str, Measures]:
    for kind, name in _SQUASHING.items():
        if isinstance(layer, kind):
            return name, squashed(name, given, output)
    return "relu", relu(output)


def _series(key: tuple[TensorKind, str, str], looks: list[tuple[int, Measures]]) -> TensorSeries:
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
