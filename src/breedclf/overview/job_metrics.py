"""What a job reported: values by epoch, grouped as they are drawn, how far it is, and when it may end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.jobs import MetricRecord

_EPOCH = "epoch"
_BEST = "best_"
_GROUPS = (("Loss", "loss"), ("Accuracy", "accuracy"))
_PACE_EPOCHS = 10


@dataclass(frozen=True)
class Curve:
    """The values of a metric: `x` are epochs, or the numbers of its reports from 1 if the job counts no epochs."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class CurveGroup:
    """Curves that are drawn in one chart, such as the losses of training and validation."""

    title: str
    curves: tuple[Curve, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"title": self.title, "curves": [vars(each) for each in self.curves]}


@dataclass(frozen=True)
class Metrics:
    """What a job has reported: curves with two points or more, and the last value of everything else.

    `x_name` is "epoch" or "report".
    """

    groups: tuple[CurveGroup, ...]
    last: Mapping[str, float]
    x_name: str

    def to_dict(self) -> dict[str, Any]:
        return {"x": self.x_name, "groups": [each.to_dict() for each in self.groups], "last": dict(self.last)}


@dataclass(frozen=True)
class Progress:
    """How many of its epochs a job has completed; `due` is when the last may end, in seconds since 1970."""

    epoch: int
    epochs: int | None
    due: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def metrics_of(records: Sequence[MetricRecord]) -> Metrics:
    """The curves and last values of records; an epoch that was trained again, as after an interruption, counts once.

    Example:
        >>> metrics_of([MetricRecord(9.0, {"epoch": 1, "train_loss": 0.5})]).last
        {'epoch': 1, 'train_loss': 0.5}
    """
    by_epoch = any(_EPOCH in record.values for record in records)
    points: dict[str, dict[float, float]] = {}
    last: dict[str, float] = {}
    for record in records:
        x = record.values.get(_EPOCH)
        for name, value in record.values.items():
            last[name] = value
            if name == _EPOCH or name.startswith(_BEST) or (by_epoch and x is None):
                continue
            found = points.setdefault(name, {})
            found[x if x is not None else len(found) + 1] = value
    curves = {
        name: Curve(name, tuple(sorted(found)), tuple(found[x] for x in sorted(found)))
        for name, found in points.items()
        if len(found) > 1
    }
    rest = {name: value for name, value in last.items() if name not in curves and not (curves and name == _EPOCH)}
    return Metrics(_grouped(curves), rest, _EPOCH if by_epoch else "report")


def progress_of(
    records: Sequence[MetricRecord], hyperparameters: Mapping[str, str], started: float | None
) -> Progress | None:
    """How far a job is; None if it counts no epochs.

    The pace is that of its last epochs. The first one, which may also compute features, counts only while it is alone.
    """
    times: dict[int, float] = {}
    for record in records:
        epoch = record.values.get(_EPOCH)
        if epoch is not None and math.isfinite(epoch) and epoch >= 1:
            times[int(epoch)] = record.time
    if not times:
        return None
    epochs = _whole(hyperparameters.get("epochs", ""))
    epoch = max(times)
    seconds = _seconds_per_epoch(times, started)
    if epochs is None or seconds is None or epoch >= epochs:
        return Progress(epoch, epochs)
    return Progress(epoch, epochs, times[epoch] + (epochs - epoch) * seconds)


def _seconds_per_epoch(times: Mapping[int, float], started: float | None) -> float | None:
    epochs = sorted(times)[-_PACE_EPOCHS:]
    if len(epochs) > 1:
        seconds = (times[epochs[-1]] - times[epochs[0]]) / (epochs[-1] - epochs[0])
    elif started is not None:
        seconds = (times[epochs[0]] - started) / epochs[0]
    else:
        return None
    return seconds if 0 < seconds < math.inf else None  # a clock that was set back says nothing


def _grouped(curves: Mapping[str, Curve]) -> tuple[CurveGroup, ...]:
    groups, left = [], dict(curves)
    for title, word in _GROUPS:
        names = [name for name in left if name == word or name.endswith(f"_{word}")]
        if names:
            groups.append(CurveGroup(title, tuple(left.pop(name) for name in sorted(names))))
    others = [CurveGroup(name.replace("_", " ").capitalize(), (left[name],)) for name in sorted(left)]
    return (*groups, *others)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None
