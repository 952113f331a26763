"""A hook that logs a training elsewhere and survives whatever goes wrong there."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from breedclf.text.printable import storable, storable_document
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan

if TYPE_CHECKING:
    from breedclf.training.fit import FitResult

log: logging.Logger = logging.getLogger(__name__)

RunStatus = Literal["Completed", "Failed", "Stopped"]
METRICS = ("train_loss", "valid_loss", "valid_accuracy", "images_per_second")


class RunStore(Protocol):
    """Where one run is kept; each method may raise whatever the store's library raises."""

    def begin(self, plan: TrainingPlan) -> None:
        """Open the run and keep its settings."""
        ...

    def add(self, epochs: Sequence[EpochRecord]) -> None:
        """Keep the metrics of these epochs."""
        ...

    def finish(self, result: FitResult) -> None:
        """Keep the best epoch and where the model is."""
        ...

    def close(self, status: RunStatus) -> None:
        """End the run; called once, after `begin`."""
        ...


class RunLogger(TrainingHook):
    """Tells a store what happens in a training.

    At the first thing that goes wrong one warning is logged and the store is left in peace, so that a training doesn't
    wait for a dead server after each epoch. When the training ends, everything that is missing is tried once more.
    """

    def __init__(self, name: str, store: RunStore) -> None:
        self.name = name
        self._store = store
        self._plan: TrainingPlan | None = None
        self._unsent: list[EpochRecord] = []
        self._begun = self._failed = self._warned = self._closed = False

    def on_start(self, plan: TrainingPlan) -> None:
        self._plan, self._unsent = plan, []
        self._begun = self._failed = self._closed = False
        self._try(self._catch_up)

    def on_epoch(self, epoch: EpochRecord) -> None:
        self._unsent.append(epoch)
        self._try(self._catch_up)

    def on_end(self, result: FitResult) -> None:
        again, self._failed = self._failed, False
        self._try(lambda: self._finish(result))
        if again and not self._failed:
            log.info("%s: everything that was missing is logged now", self.name)

    def close(self, status: RunStatus) -> None:
        """End the run as failed or stopped; after `on_end` there is nothing left to do."""
        if self._begun and not self._closed:
            self._closed = True
            self._try(lambda: self._store.close(status))

    def _catch_up(self) -> None:
        assert self._plan is not None
        if not self._begun:
            self._store.begin(self._plan)
            self._begun = True
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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what these libraries warn of is nothing that a user of ours can mend
                act()
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the training is worth more than its log
            self._failed = True
            if not self._warned:
                self._warned = True
                reason = str(error).strip() or type(error).__name__
                log.warning(
                    "%s: this training can't be logged (%s); it goes on, and logging is tried again at its end",
                    self.name,
                    reason.splitlines()[0][:500],
                )


def run_name(plan: TrainingPlan) -> str:
    """What a run is called: the job's name inside a job, otherwise the output folder's."""
    return storable(os.environ.get("TRAINING_JOB_NAME") or (plan.output or plan.config.output).name or "training")


def settings_of(plan: TrainingPlan) -> dict[str, Any]:
    """The settings and what was found here, as plain values."""
    found = {
        "device_used": plan.device,
        "precision_used": plan.precision,
        "train_count": plan.train_count,
        "valid_count": plan.valid_count,
        "classes": len(plan.labels),
    }
    settings: dict[str, Any] = storable_document(plan.config.to_dict())
    return {**settings, **found}
