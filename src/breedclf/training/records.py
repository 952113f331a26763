"""What a training tells as it goes: the plan before it begins, a record of each step, and one of each epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from breedclf.config import TrainingConfig
from breedclf.text.plain_json import plain_values


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to run, with the choices made for this machine.

    `epochs_done` epochs lie behind it already when a training goes on from a checkpoint; `checkpoints` is the folder of
    those that it keeps.
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


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step; `epoch` and `step` count from 1, `images` is the size of its batch."""

    epoch: int
    step: int
    images: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean losses over pictures, accuracy from 0 to 1, and the pace of training."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    images_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is NaN or infinite is None."""
        found: dict[str, Any] = plain_values(asdict(self))
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `to_dict` gave, with NaN for None."""
        known: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        return cls(**known)
