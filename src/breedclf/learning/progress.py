"""What a training says while it runs: one line for people and one line of JSON an epoch."""

from __future__ import annotations

import logging

from breedclf.learning.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.metric_lines import format_metrics

log = logging.getLogger(__name__)


class ProgressLog(TrainingHook):
    """Tells the "breedclf" logger what happens."""

    def on_start(self, plan: TrainingPlan) -> None:
        self._epochs = plan.config.epochs
        log.info(
            "training %s on %d pictures of %d classes (%d for validation), %s, %s",
            plan.config.architecture,
            plan.train_count,
            len(plan.labels),
            plan.valid_count,
            plan.device,
            plan.precision,
        )

    def on_epoch(self, epoch: EpochRecord) -> None:
        log.info(
            "epoch %d/%d  train loss %.4f  valid loss %.4f  valid accuracy %.1f%%  %.0f images/s",
            epoch.epoch,
            self._epochs,
            epoch.train_loss,
            epoch.valid_loss,
            100 * epoch.valid_accuracy,
            epoch.images_per_second,
        )
        log.info("%s", format_metrics(epoch.to_dict()))
