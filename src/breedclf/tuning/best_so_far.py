"""A training that tells its best objective after each epoch, for a service that stops trials by what they tell."""

from __future__ import annotations

import math

from breedclf.jobs.metric_lines import best, print_metrics
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.tuning.trials import direction_of, is_better


class BestSoFar(TrainingHook):
    """Prints the metric that trials are ranked by while the training runs; its last value is that of the best epoch."""

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
