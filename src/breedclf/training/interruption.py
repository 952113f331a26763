"""SIGTERM and SIGINT while a training runs: they ask it to end after this step, with its state saved."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

log: logging.Logger = logging.getLogger(__name__)


class TrainingInterrupted(KeyboardInterrupt):
    """A training was asked to end, and saved its state; the message tells where, and how to go on."""


class StopRequest:
    """Whether somebody asked the training to end, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def is_made(self) -> bool:
        return self.signal is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler; asked a second time, it ends the training at once."""
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        log.warning("%s: the training ends after this step; once more, and it ends at once", self.signal.name)


@contextmanager
def stop_requests(wanted: bool = True) -> Iterator[StopRequest]:
    """Within it signals make a request instead of ending the process; a handler of the program's own stays.

    Only a process's main thread hears of signals; in others, nothing is ever asked.
    """
    request = StopRequest()
    before: dict[int, Any] = {}
    if wanted and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, request)
    try:
        yield request
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
