"""Collects the objective of each validation image in the best epoch, to compare trials image by image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.tuning.scores_file import write_scores
from breedclf.tuning.trials import direction_of, is_better

if TYPE_CHECKING:
    from breedclf.training.results.result import FitResult
    from breedclf.training.valid_predictions import ValidPredictions

_SMALLEST = 1.2e-38  # of float32, for images whose class has a probability of 0


class ValidScores(TrainingHook):
    """A training hook that writes the objective of each validation image below `folder`, in the order of the split.

    The mean of these is the objective of the best epoch. If that epoch was in an earlier process, nothing is written.
    """

    def __init__(self, objective: str, folder: Path) -> None:
        self._objective = objective
        self._folder = folder
        self._best: tuple[int, float, list[float]] | None = None

    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions) -> None:
        value: float = getattr(epoch, self._objective)
        if self._best is None or is_better(value, self._best[1], direction_of(self._objective)):
            self._best = (epoch.epoch, value, image_scores(self._objective, predictions))

    def on_end(self, result: FitResult) -> None:
        if self._best is not None and self._best[0] == result.best_epoch:
            write_scores(self._folder, self._best[2])


def image_scores(objective: str, predictions: ValidPredictions) -> list[float]:
    """The loss of each image, or 1 for a correct and 0 for a wrong prediction."""
    if objective == "valid_accuracy":
        correct: list[float] = predictions.is_correct.double().tolist()
        return correct
    of_target = predictions.probabilities.gather(1, predictions.targets[:, None])[:, 0]
    losses: list[float] = (-of_target.clamp_min(_SMALLEST).double().log()).tolist()
    return losses
