"""Takes tensor snapshots at intervals of some steps: a few statistics computed on the device."""

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

SNAPSHOT_EVERY = 10
MAX_SNAPSHOTS = 1_000
_SQUASHING = {nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
_CHANNELS = 3
INPUT_NAME = "pictures"  # in `profile.json`, as in earlier profiles


class TensorWatch:
    """Collects statistics of watched networks; `seconds` is the time it took."""

    def __init__(self, every: int = SNAPSHOT_EVERY) -> None:
        self.every: int = every
        self.seconds: float = 0.0
        self.snapshots: int = 0
        self._columns: dict[tuple[TensorKind, str, str], list[tuple[int, Measures]]] = defaultdict(list)
        self._trained: list[tuple[str, nn.Parameter, str]] = []
        self._last: dict[str, torch.Tensor] = {}
        self._before: dict[str, torch.Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._step = 0
        self._due = False

    def watch(self, module: nn.Module, optimizer: Optimizer | None) -> None:
        """Watch a network's activations and, if it is trained, its weights and gradients."""
        if optimizer is not None:
            kinds = {id(p): layer_kind(m) for m in module.modules() for p in m.parameters(recurse=False)}
            self._trained = [(n, p, kinds[id(p)]) for n, p in module.named_parameters() if p.requires_grad]
        for name, layer in module.named_modules():
            if isinstance(layer, nn.ReLU | nn.Tanh | nn.Sigmoid) or getattr(layer, "activation", None) == "relu":
                self._hooks.append(layer.register_forward_hook(self._activation_hook(name)))
        self._hooks.append(module.register_forward_pre_hook(self._input_hook))

    def due(self, step: int) -> bool:
        """Whether to take a snapshot at this step; the interval doubles each time `MAX_SNAPSHOTS` is reached."""
        if self.snapshots >= MAX_SNAPSHOTS:
            self.every *= 2
            self.snapshots //= 2
        self._due = step % self.every == 0
        self._step = step
        return self._due

    def pause(self) -> None:
        """Pause: no snapshots of the steps that follow."""
        self._due = False

    def after_backward(self) -> None:
        """Record gradients, and keep the weights from before the update."""
        started = time.perf_counter()
        with torch.no_grad():
            for name, weight, kind in self._trained:
                if weight.grad is not None:
                    self._add("gradient", name, kind, common(weight.grad))
                self._before[name] = weight.detach().clone()
        self.seconds += time.perf_counter() - started

    def after_optimizer(self) -> None:
        """Record weights, and how far they moved in this step and since the previous snapshot."""
        started = time.perf_counter()
        self.snapshots += 1
        with torch.no_grad():
            for name, weight, kind in self._trained:
                size = weight.abs().mean()
                # The spread before the update, so that the first snapshot describes the initial weights.
                measures = {**common(weight), "std": spread(self._before.get(name, weight))}
                if name in self._last:
                    moved = (weight - self._last[name]).abs().mean()
                    measures["change"] = moved / (size + EPSILON)
                else:
                    measures["change"] = torch.ones(())
                self._last[name] = weight.detach().clone()
                self._add("weight", name, kind, measures)
                if name in self._before and (snapshots := self._columns[("gradient", name, kind)]):
                    update = (weight - self._before[name]).abs().mean()
                    before = self._before[name].abs().mean()
                    snapshots[-1][1]["update_ratio"] = relative(update, before)
        self._due = False
        self.seconds += time.perf_counter() - started

    def series(self) -> tuple[TensorSeries, ...]:
        """All snapshots so far, copied from the device."""
        return tuple(_series(key, snapshots) for key, snapshots in list(self._columns.items()) if snapshots)

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _activation_hook(self, name: str) -> Any:
        def record(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not self._due or not isinstance(output, torch.Tensor):
                return
            started = time.perf_counter()
            with torch.no_grad():
                detail, measures = _activation(layer, inputs[0], output)
                self._add("activation", name or detail, detail, measures)
            self.seconds += time.perf_counter() - started

        return record

    def _input_hook(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        del module
        # Images only: inputs that are features or activations have their own scale.
        if not self._due or not inputs or not isinstance(inputs[0], torch.Tensor):
            return
        if inputs[0].ndim != 4 or inputs[0].shape[1] != _CHANNELS:
            return
        started = time.perf_counter()
        with torch.no_grad():
            images = inputs[0].float()
            self._add(
                "input",
                INPUT_NAME,
                "",
                {**common(images), "mean": images.mean(), "std": spread(images)},
            )
        self.seconds += time.perf_counter() - started

    def _add(self, kind: TensorKind, name: str, detail: str, measures: Measures) -> None:
        self._columns[kind, name, detail].append((self._step, {k: v.detach() for k, v in measures.items()}))


def _activation(layer: nn.Module, inputs: torch.Tensor, output: torch.Tensor) -> tuple[str, Measures]:
    for kind, name in _SQUASHING.items():
        if isinstance(layer, kind):
            return name, squashed(name, inputs, output)
    return "relu", relu(output)


def _series(key: tuple[TensorKind, str, str], snapshots: list[tuple[int, Measures]]) -> TensorSeries:
    kind, name, detail = key
    names = dict.fromkeys(measure for _, measures in snapshots for measure in measures)
    blank = torch.full((), float("nan"))
    return TensorSeries(
        name=name,
        kind=kind,
        detail=detail,
        step=np.array([step for step, _ in snapshots], dtype=np.int64),
        measures={m: np.array([float(measures.get(m, blank)) for _, measures in snapshots]) for m in names},
    )
