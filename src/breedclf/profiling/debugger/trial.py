"""Reads an smdebug trial as a profile, so that the same rules can be applied to it."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breedclf.errors import ProfileError
from breedclf.files.paths import StrPath
from breedclf.profiling.debugger.hook import MOVE, UPDATE
from breedclf.profiling.debugger.requirements import is_trial, load_smdebug
from breedclf.profiling.profile import JobInfo, JobStatus, Learning, Profile, Provenance, TensorKind, TensorSeries
from breedclf.profiling.tensor_measures import EPSILON, common, relu, spread, squashed
from breedclf.profiling.tensor_watch import INPUT_NAME

GRADIENT = "gradient/"
END_FILE = "training_job_end.ts"
_ACTIVATIONS = {"relu_output": "relu", "tanh_input": "tanh", "sigmoid_input": "sigmoid"}
_SIDE = re.compile(r"_(?:input|output)_\d+$")
_KINDS = {2: "linear", 3: "conv", 4: "conv", 5: "conv"}  # a layer's weight, by its dimensions

Measures = dict[str, float]


def read_trial(path: StrPath) -> Profile:
    """Read a trial: losses, and statistics of each tensor from its reductions or, if saved, from the whole tensor.

    Only training steps are read. What can't be derived from reductions is absent: rules that need it report `no_data`.

    Raises:
        MissingExtraError: smdebug isn't installed, or numpy or protobuf are incompatible with it.
        ProfileError: there is no trial, or it can't be read.
    """
    path = Path(path)
    if not is_trial(path):
        # smdebug itself would wait for one forever
        raise ProfileError(f"{path} holds no smdebug trial: it has no collections/*/*_collections.json")
    modes = load_smdebug("smdebug.pytorch").modes
    create_trial = load_smdebug("smdebug.trials").create_trial
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _profile(path, create_trial(str(path)), modes.TRAIN)
    except (OSError, ValueError, KeyError, IndexError, AssertionError, json.JSONDecodeError) as error:
        raise ProfileError(f"trial {path} is damaged: {type(error).__name__}: {error}") from error


def _profile(path: Path, trial: Any, mode: Any) -> Profile:
    names = sorted(trial.tensor_names(mode=mode))
    reader = _Reader(trial, mode)
    times = [file.stat().st_mtime for file in path.rglob("*") if file.is_file()]
    ended: JobStatus = "Completed" if (path / END_FILE).is_file() else "Incomplete"
    return Profile(
        job=JobInfo(name=path.name, source="smdebug", status=ended, start=min(times), end=max(times)),
        tensors=tuple(_tensors(trial, reader, names)),
        learning=_losses(trial, reader),
        provenance=Provenance(notes=("start and end are the timestamps of smdebug's files",)),
    )


def _tensors(trial: Any, reader: _Reader, names: list[str]) -> Iterable[TensorSeries]:
    gradients = [name for name in names if name.startswith(GRADIENT)]
    for name in gradients:
        weight = name.removeprefix(GRADIENT)
        snapshots = reader.snapshots(name)
        for step, measures in snapshots.items():
            if (ratio := reader.update_ratio(weight, step)) is not None:
                measures["update_ratio"] = ratio
        yield _series(_plain(weight), "gradient", reader.detail(name), snapshots)
    for name in [name for name in names if _is_weight(trial, name)]:
        snapshots = reader.snapshots(name, with_spread=True)
        for number, (step, measures) in enumerate(snapshots.items()):
            if (change := reader.change(name, step, first=number == 0)) is not None:
                measures["change"] = change
        yield _series(_plain(name), "weight", reader.detail(name), snapshots)
    for collection, kind in _ACTIVATIONS.items():
        for name in trial.tensor_names(collection=collection) if collection in trial.collections() else ():
            snapshots = {step: reader.activation(name, kind, step) for step in reader.steps(name)}
            yield _series(_SIDE.sub("", name), "activation", kind, snapshots)
    for name in trial.tensor_names(collection="inputs") if "inputs" in trial.collections() else ():
        if len(reader.shape(name)) == 4:  # images only: inputs that are features have their own scale
            yield _series(INPUT_NAME, "input", "", reader.snapshots(name, with_spread=True, with_mean=True))


def _is_weight(trial: Any, name: str) -> bool:
    if name.startswith((GRADIENT, UPDATE, MOVE)) or _SIDE.search(name):
        return False
    return any(name in trial.collection(c).tensor_names for c in ("weights", "biases") if c in trial.collections())


def _losses(trial: Any, reader: _Reader) -> Learning:
    for name in sorted(trial.tensor_names(collection="losses")):
        steps = reader.steps(name)
        if steps:
            values = [float(np.mean(reader.value(name, step))) for step in steps]
            return Learning(step=np.array(steps, dtype=np.int64), step_loss=np.array(values))
    return Learning()


class _Reader:
    """Reads values of a trial's training steps as plain numbers."""

    def __init__(self, trial: Any, mode: Any) -> None:
        self.trial = trial
        self.mode = mode
        self.unavailable = load_smdebug("smdebug.exceptions")
        self.names = frozenset(trial.tensor_names())

    def steps(self, name: str) -> list[int]:
        return sorted(self.trial.tensor(name).steps(mode=self.mode))

    def value(self, name: str, step: int) -> Any:
        return self.trial.tensor(name).value(step, mode=self.mode)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape at the first step; empty if smdebug didn't save it."""
        missing = (self.unavailable.ShapeUnavailableForStep, self.unavailable.TensorUnavailableForStep)
        try:
            return tuple(self.trial.tensor(name).shape(self.steps(name)[0], mode=self.mode))
        except (*missing, AttributeError, TypeError):
            return ()

    def detail(self, name: str) -> str:
        return _KINDS.get(len(self.shape(name)), "") if name.endswith("weight") else ""

    def snapshots(self, name: str, *, with_spread: bool = False, with_mean: bool = False) -> dict[int, Measures]:
        return {step: self._measures(name, step, with_spread, with_mean) for step in self.steps(name)}

    def _measures(self, name: str, step: int, with_spread: bool, with_mean: bool) -> Measures:
        reduced = self.reduced(name, step)
        if reduced is None:
            whole = torch.from_numpy(np.array(self.value(name, step), dtype=np.float32))
            measures = {key: float(value) for key, value in common(whole).items()}
            if with_spread:
                measures["std"] = float(spread(whole))
            return {**measures, "mean": float(whole.mean())} if with_mean else measures
        measures = {
            "mean_abs": reduced["mean", True],
            "zero_share": _zero_share(reduced),
            "finite": float(math.isfinite(reduced.get(("max", True), reduced["mean", True]))),
        }
        if with_spread and ("std", False) in reduced:
            measures["std"] = self._over_all(name, reduced["std", False])
        if with_mean and ("mean", False) in reduced:
            measures["mean"] = reduced["mean", False]
        return measures

    def reduced(self, name: str, step: int) -> dict[tuple[str, bool], float] | None:
        """The reductions that smdebug saved; None if it saved the whole tensor."""
        found = self.trial.tensor(name).reduction_values(step, mode=self.mode)
        values = {key: float(value) for key, value in found.items()}
        return values if ("mean", True) in values else None

    def update_ratio(self, weight: str, step: int) -> float | None:
        """Mean absolute update relative to that of the weight before it; 1 for a weight of zero."""
        update, before = self._size(f"{UPDATE}{weight}_output_0", step), self._size(weight, step)
        if update is None or before is None:
            return None
        return update / (before + EPSILON) if before > 0 or not math.isfinite(before) else 1.0

    def change(self, weight: str, step: int, *, first: bool) -> float | None:
        """Mean change since the previous snapshot relative to the mean absolute weight."""
        if f"{UPDATE}{weight}_output_0" not in self.names:
            return None
        moved, size = self._size(f"{MOVE}{weight}_output_0", step), self._size(weight, step)
        return 1.0 if first or moved is None or size is None else moved / (size + EPSILON)

    def activation(self, name: str, kind: str, step: int) -> Measures:
        whole = torch.from_numpy(np.array(self.value(name, step), dtype=np.float32))
        if kind == "relu":
            found = relu(whole)
        else:
            found = squashed(kind, whole, torch.tanh(whole) if kind == "tanh" else torch.sigmoid(whole))
        return {key: float(value) for key, value in found.items()}

    def _size(self, name: str, step: int) -> float | None:
        if name not in self.names or step not in self.steps(name):
            return None
        reduced = self.reduced(name, step)
        return float(np.abs(self.value(name, step)).mean()) if reduced is None else reduced["mean", True]

    def _over_all(self, name: str, deviation: float) -> float:
        """Convert smdebug's sample deviation to a population deviation; 0 for a single value."""
        count = math.prod(self.shape(name) or (0,))
        return 0.0 if count == 1 else deviation * math.sqrt((count - 1) / count) if count else deviation


def _zero_share(reduced: dict[tuple[str, bool], float]) -> float:
    """The share of zeros if max and min of the absolute values determine it (0 or 1); otherwise NaN."""
    if reduced.get(("max", True)) == 0:
        return 1.0
    return 0.0 if reduced.get(("min", True), 0.0) > 0 else math.nan


def _plain(name: str) -> str:
    """Remove the class name that smdebug puts before a parameter's name: `Sequential_0.weight` becomes `0.weight`."""
    return name.partition("_")[2] or name


def _series(name: str, kind: TensorKind, detail: str, snapshots: dict[int, Measures]) -> TensorSeries:
    keys = dict.fromkeys(key for measures in snapshots.values() for key in measures)
    return TensorSeries(
        name=name,
        kind=kind,
        detail=detail,
        step=np.array(list(snapshots), dtype=np.int64),
        measures={key: np.array([measures.get(key, math.nan) for measures in snapshots.values()]) for key in keys},
    )
