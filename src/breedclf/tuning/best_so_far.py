"""Prints the best objective so far after each epoch, for services that stop trials early by that metric."""

from __future__ import annotations

import math

from breedclf.jobs.metric_lines import best, print_metrics
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.tuning.trials import direction_of, is_better


class BestSoFar(TrainingHook):
    """A training hook that prints the ranking metric during training; its last value is that of the best epoch."""

    def __init__(self, objective: str) -> None:
        self._objective = objective
        self._direction = direction_of(objective)
        self._best: float | None = None

    def on_epoch(self, epoch: EpochRecord) -> None:
        value = getattr(epoch, self._objective)
        if not math.isfinite(value):
            return
        if self._best is None or is_better(value, self._best, self._direction):
            self._best = value
        print_metrics({best(self._objective): self._best})
