"""What a training tells while it runs; progress, metrics, checkpoints and users' own code hang on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from breedclf.config import TrainingConfig
    from breedclf.learning.fit import FitResult
    from breedclf.learning.timing import StepTimer


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to run, with the choices made for this machine."""

    config: TrainingConfig
    labels: tuple[str, ...]
    train_count: int
    valid_count: int
    device: str
    precision: str
    class_counts: tuple[int, ...] = ()
    output: Path | None = None


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
        return asdict(self)


class TrainingHook:
    """Base of hooks: override what you want to hear of; a hook with a `timer` hears of the parts of each step too."""

    timer: StepTimer | None = None

    def on_start(self, plan: TrainingPlan) -> None:
        """Before the first picture is read."""

    def on_step(self, step: StepRecord) -> None:
        """After each optimizer step; keep it cheap."""

    def on_epoch(self, epoch: EpochRecord) -> None:
        """After the validation of each epoch."""

    def on_end(self, result: FitResult) -> None:
        """After the artifact is written."""
