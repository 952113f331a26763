"""The result of a training run: the model directory, the history, and the images left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from breedclf.inference.classifier import Classifier
from breedclf.training.records import EpochRecord


@dataclass(frozen=True)
class FitResult:
    """The result of a training run.

    Args:
        artifact: the model directory, in `output`.
        output: the output folder.
        history: one record per epoch.
        best_epoch: counted from 1.
        seconds: how long the run took.
        skipped: the reasons of unreadable images that were left out.
        stopped: whether the run ended on request, before its last epoch.
    """

    artifact: Path
    output: Path
    history: list[EpochRecord]
    best_epoch: int
    seconds: float
    skipped: list[str]
    stopped: bool = False

    @cached_property
    def classifier(self) -> Classifier:
        """The trained model, ready to predict."""
        return Classifier(self.artifact)

    @property
    def best(self) -> EpochRecord:
        """The record of the best epoch."""
        return self.history[self.best_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf train --json`."""
        fields = {
            "artifact": str(self.artifact),
            "output": str(self.output),
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 3),
            "skipped": self.skipped,
        }
        return fields | ({"stopped": True} if self.stopped else {})
