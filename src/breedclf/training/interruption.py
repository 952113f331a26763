"""SIGTERM and SIGINT during training: the run ends after the current step, with its state saved."""

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
    """A run was interrupted and has saved its state; the message says where, and how to continue."""


class StopRequest:
    """Whether a signal requested the end of the run, and which."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def is_made(self) -> bool:
        """Whether a signal was received."""
        return self.signal is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second signal ends the run immediately."""
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        log.warning("%s: training ends after this step; send it again to end immediately", self.signal.name)


@contextmanager
def stop_requests(enabled: bool = True) -> Iterator[StopRequest]:
    """Within it SIGTERM and SIGINT make a request instead of ending the process; other handlers stay installed.

    Only the main thread receives signals; in other threads no request is ever made.
    """
    request = StopRequest()
    before: dict[int, Any] = {}
    if enabled and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, request)
    try:
        yield request
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
