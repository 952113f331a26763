"""What a training says while it runs: one line for people and one line of JSON an epoch."""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm

from breedclf.learning.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.metric_lines import format_metrics

log = logging.getLogger(__name__)


class ProgressLog(TrainingHook):
    """Tells the "breedclf" logger what happens or, where nobody listens, a person at a terminal or notebook."""

    def on_start(self, plan: TrainingPlan) -> None:
        self._epochs = plan.config.epochs
        _tell(
            f"training {plan.config.architecture} on {plan.train_count} pictures of {len(plan.labels)} classes "
            f"({plan.valid_count} for validation), {plan.device}, {plan.precision}"
        )

    def on_epoch(self, epoch: EpochRecord) -> None:
        _tell(
            f"epoch {epoch.epoch}/{self._epochs}  "
            f"train loss {epoch.train_loss:.4f}  valid loss {epoch.valid_loss:.4f}  "
            f"valid accuracy {epoch.valid_accuracy:.1%}  {epoch.images_per_second:.0f} images/s"
        )
        log.info("%s", format_metrics(epoch.to_dict()))


def _tell(text: str) -> None:
    if log.isEnabledFor(logging.INFO) and log.hasHandlers():
        log.info("%s", text)
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        tqdm.write(text, file=sys.stderr)
