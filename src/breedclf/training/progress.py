"""Progress of a run: one line per epoch for people, and in jobs a line of JSON for programs."""

from __future__ import annotations

import logging
from typing import Any

from tqdm import tqdm

from breedclf.jobs.metric_lines import format_metrics, training_metrics
from breedclf.runtime.progress import progress_bar, show_line
from breedclf.training.hooks import EpochRecord, StepRecord, TrainingHook, TrainingPlan

log: logging.Logger = logging.getLogger(__name__)


class ProgressLog(TrainingHook):
    """Logs to the "breedclf" logger or, if it has no handler, writes to the terminal or notebook.

    With `metric_lines` each epoch also logs the line from which a job's metrics are read.
    """

    def __init__(self, *, metric_lines: bool = False) -> None:
        self._metric_lines = metric_lines
        self._bar: tqdm[Any] | None = None

    def on_start(self, plan: TrainingPlan) -> None:
        self._epochs, self._images = plan.config.epochs, plan.train_count
        # A head alone takes milliseconds per epoch; other runs show a bar on a terminal.
        self._no_bar = plan.config.freeze == "head" and plan.config.feature_cache
        show_line(
            log,
            f"training {plan.config.architecture} on {plan.train_count} images of {len(plan.labels)} classes "
            f"({plan.valid_count} for validation), {plan.device}, {plan.precision}",
        )
        if plan.epochs_done:
            show_line(log, f"resuming after epoch {plan.epochs_done} of {self._epochs}")

    def on_step(self, step: StepRecord) -> None:
        if self._bar is None:
            total, title = self._images, f"epoch {step.epoch}/{self._epochs}"
            self._bar = progress_bar(title, total=total, hidden=self._no_bar)
        self._bar.update(step.images)

    def on_epoch(self, epoch: EpochRecord) -> None:
        self.close()
        own = "".join(f"{name} {value:.4f}  " for name, value in epoch.metrics.items())
        show_line(
            log,
            f"epoch {epoch.epoch}/{self._epochs}{' (stopped within it)' if epoch.is_partial else ''}  "
            f"train loss {epoch.train_loss:.4f}  valid loss {epoch.valid_loss:.4f}  "
            f"valid accuracy {epoch.valid_accuracy:.1%}  {own}{epoch.images_per_second:.0f} images/s",
        )
        if self._metric_lines:
            log.info("%s", format_metrics({"epoch": epoch.epoch, **epoch.values}, training_metrics(epoch.metrics)))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
