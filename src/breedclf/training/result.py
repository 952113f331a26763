"""What a training leaves behind: the model folder, how it went, and what had to be left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from breedclf.inference.classifier import Classifier
from breedclf.training.records import EpochRecord


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind.

    `artifact` is the model folder below `output`; `history` has one record an epoch; `best_epoch` counts from 1;
    `skipped` holds the reasons of pictures left out.
    """

    artifact: Path
    output: Path
    history: list[EpochRecord]
    best_epoch: int
    seconds: float
    skipped: list[str]

    @cached_property
    def classifier(self) -> Classifier:
        """The trained model, ready to predict."""
        return Classifier(self.artifact)

    @property
    def best(self) -> EpochRecord:
        return self.history[self.best_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf train --json`."""
        return {
            "artifact": str(self.artifact),
            "output": str(self.output),
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 3),
            "skipped": self.skipped,
        }
