"""The base of loggers: a training hook that logs to a store and tolerates its failures."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from breedclf.runtime.process_wide import without_warnings
from breedclf.text.plain_json import plain_values
from breedclf.text.printable import storable
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.training.interruption import was_stopped

if TYPE_CHECKING:
    from breedclf.training.fit import FitResult

log: logging.Logger = logging.getLogger(__name__)

RunStatus = Literal["Completed", "Failed", "Stopped"]


class RunStore(Protocol):
    """A store of one run; methods may raise any exception of the store's library."""

    def start(self, plan: TrainingPlan) -> None:
        """Start the run and log its settings."""
        ...

    def add(self, epochs: Sequence[EpochRecord]) -> None:
        """Log the metrics of these epochs."""
        ...

    def finish(self, result: FitResult) -> None:
        """Log the best epoch and the path of the model."""
        ...

    def close(self, status: RunStatus) -> None:
        """End the run; called once, after `start`."""
        ...


class RunLogger(TrainingHook):
    """A training hook that logs to a store.

    After the first failure, a warning is logged and the store isn't used, so that training doesn't wait for an
    unreachable server after each epoch. At the end of training, everything that is missing is logged again.
    """

    def __init__(self, name: str, store: RunStore) -> None:
        self.name = name
        self._store = store
        self._plan: TrainingPlan | None = None
        self._unsent: list[EpochRecord] = []
        self._started = self._failed = self._warned = self._closed = False

    def on_start(self, plan: TrainingPlan) -> None:
        self._plan, self._unsent = plan, []
        self._started = self._failed = self._closed = False
        self._try(self._catch_up)

    def on_epoch(self, epoch: EpochRecord) -> None:
        self._unsent.append(epoch)
        self._try(self._catch_up)

    def on_end(self, result: FitResult) -> None:
        again, self._failed = self._failed, False
        self._try(lambda: self._finish(result))
        if again and not self._failed:
            log.info("%s: all missing data has been logged", self.name)

    def on_failure(self, error: BaseException) -> None:
        self._end("Stopped" if was_stopped(error) else "Failed")

    def close(self) -> None:
        self._end("Failed")  # no effect after `on_end` or `on_failure`

    def _end(self, status: RunStatus) -> None:
        if self._started and not self._closed:
            self._closed = True
            self._try(lambda: self._store.close(status))

    def _catch_up(self) -> None:
        assert self._plan is not None
        if not self._started:
            self._store.start(self._plan)
            self._started = True
        if self._unsent:
            self._store.add(self._unsent)
            self._unsent = []

    def _finish(self, result: FitResult) -> None:
        self._catch_up()
        self._store.finish(result)
        self._closed = True
        self._store.close("Completed")

    def _try(self, act: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            with without_warnings():  # users can't fix what these libraries warn about
                act()
        except Exception as error:  # noqa: BLE001 - no exception of a logger may stop training
            self._failed = True
            if not self._warned:
                self._warned = True
                reason = str(error).strip() or type(error).__name__
                log.warning(
                    "%s: logging failed (%s); training continues, and logging is retried at its end",
                    self.name,
                    reason.splitlines()[0][:500],
                )


def metrics_of(epoch: EpochRecord) -> dict[str, float]:
    """What loggers record of an epoch; own metrics without a value are left out."""
    return {name: value for name, value in epoch.values.items() if name not in epoch.metrics or math.isfinite(value)}


def run_name(plan: TrainingPlan) -> str:
    """The name of a run: the job's name in a job, otherwise the output folder's name."""
    return storable(os.environ.get("TRAINING_JOB_NAME") or (plan.output or plan.config.output).name or "training")


def settings_of(plan: TrainingPlan) -> dict[str, Any]:
    """The settings and properties of the run, as plain values."""
    properties = {
        "device_used": plan.device,
        "precision_used": plan.precision,
        "train_count": plan.train_count,
        "valid_count": plan.valid_count,
        "classes": len(plan.labels),
    }
    settings: dict[str, Any] = plain_values(plan.config.to_dict())
    return {**settings, **properties}
