"""Writes the best model so far during training, so that a run that is killed leaves one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from breedclf.errors import DiskError
from breedclf.training.loop import Trained

log: logging.Logger = logging.getLogger(__name__)

WRITING_SHARE = 0.01  # the largest share of the run's time spent on writing models during training
_FIRST_SECONDS = 0.5  # how long a write is assumed to take before the first one


class BestModelKeeper:
    """After each epoch, writes the best model so far unless it is written already, or writing takes too much time.

    Args:
        write: writes the model of the best epoch; if the disk refuses, a warning is logged and training continues.
        clock: monotonic seconds, for tests.
    """

    def __init__(self, write: Callable[[Trained], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._next_at = clock() + _FIRST_SECONDS / WRITING_SHARE
        self._written_epoch = 0

    def __call__(self, trained: Trained) -> None:
        before = self._clock()
        if trained.best_epoch == self._written_epoch or before < self._next_at:
            return
        try:
            self._write(trained)
        except (DiskError, OSError) as error:
            log.warning("the best model so far can't be written: %s; training continues", error)
        self._written_epoch = trained.best_epoch
        self._next_at = before + (self._clock() - before) / WRITING_SHARE
