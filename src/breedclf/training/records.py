"""What hooks and results contain: the plan before the run, a record of each step and epoch, and of a start model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from breedclf.config import TrainingConfig
from breedclf.config.import_path import BUILT_IN_METRICS
from breedclf.text.plain_json import plain_values


def _nothing_runs() -> None:
    """Do nothing: the plan isn't that of a run under way."""


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to run, with the choices made for this machine.

    Args:
        config: every setting.
        labels: names of the class folders, sorted.
        train_count: number of training images.
        valid_count: number of validation images.
        device: "cpu", "cuda" or "mps".
        precision: "fp32", "bf16" or "int8".
        class_counts: number of training images per class, in the order of the labels.
        output: the output folder.
        epochs_done: epochs that a resumed run has already trained.
        checkpoints: folder of the checkpoints; None if none are saved.
        request_stop: ends the run after its step, with the best model so far; may be called from any thread.
    """

    config: TrainingConfig
    labels: tuple[str, ...]
    train_count: int
    valid_count: int
    device: str
    precision: str
    class_counts: tuple[int, ...] = ()
    output: Path | None = None
    epochs_done: int = 0
    checkpoints: Path | None = None
    request_stop: Callable[[], None] = field(default=_nothing_runs, repr=False, compare=False)


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step; `epoch` and `step` count from 1, `images` is the size of its batch."""

    epoch: int
    step: int
    images: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, counted from 1: mean losses over images, accuracy from 0 to 1, and training images per second.

    `is_partial`: the run was stopped within its first epoch, and this is the part that was trained.
    `metrics` are your own, by name; NaN if they have no value.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    images_per_second: float
    is_partial: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def values(self) -> dict[str, float]:
        """All numbers of the epoch by name, your own metrics among them."""
        return {**{name: getattr(self, name) for name in BUILT_IN_METRICS}, **self.metrics}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinite values become None. `metrics` is there if there are any, and
        `is_partial` if it is true.
        """
        values: dict[str, Any] = plain_values(asdict(self))
        if not self.is_partial:
            del values["is_partial"]
        if not self.metrics:
            del values["metrics"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The record with these values from `to_dict`, with NaN for None."""
        known: dict[str, Any] = _numbers(values)
        return cls(**{**known, "metrics": _numbers(known.get("metrics", {}))})


@dataclass(frozen=True)
class BeforeTraining:
    """The model that a run continues, measured on the run's validation images before the first step.

    Args:
        valid_loss: mean loss over all images, with the classes of the run; comparable to that of an epoch. A new class
            starts with the mean of the model's scores.
        valid_accuracy: accuracy (0 to 1) over all images, likewise.
        known_count: images of classes that the model knows.
        known_loss: mean loss over those, with the model's own classes; NaN if there are none.
        known_accuracy: accuracy over those, likewise.
    """

    valid_loss: float
    valid_accuracy: float
    known_count: int
    known_loss: float
    known_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinite values become None."""
        values: dict[str, Any] = plain_values(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, with NaN for None."""
        return cls(**_numbers(values))


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in values.items()}
