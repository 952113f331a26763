"""Requests to end a run: by `request_stop`, which keeps the best model, or by SIGTERM and SIGINT."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from breedclf.errors import TrainingStoppedError

log: logging.Logger = logging.getLogger(__name__)


class TrainingInterrupted(KeyboardInterrupt):
    """A run was interrupted and has saved its state; the message says where, and how to continue."""


def was_stopped(error: BaseException) -> bool:
    """Whether a run ended because someone asked for it, not because something failed."""
    return isinstance(error, (KeyboardInterrupt, TrainingStoppedError))


def nothing_trained() -> TrainingStoppedError:
    """The error of a run that was stopped before it trained anything."""
    return TrainingStoppedError("the run was stopped before its first step, so there is no model")


class StopRequest:
    """Whether the end of a run was requested, and by whom; any thread may request it.

    Args:
        signals_keep_best: whether a signal ends the run as `request` does, so that it writes its best model.
    """

    def __init__(self, *, signals_keep_best: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self.signals_keep_best = signals_keep_best
        self._is_requested = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_made(self) -> bool:
        """Whether the run was asked to end."""
        return self._is_requested or self.signal is not None

    @property
    def is_interruption(self) -> bool:
        """Whether a signal ends the run without a model."""
        return self.signal is not None and not self.signals_keep_best

    def request(self) -> None:
        """Ask the run to end after its step, with the best model so far; repeating it has no effect."""
        if self._is_requested:
            return
        self._is_requested = True
        log.info("stop requested: training ends after this step")
        for listener in list(self._listeners):
            listener()

    @contextmanager
    def passed_on(self, listener: Callable[[], None]) -> Iterator[None]:
        """Within it a request calls the listener, in the thread that makes the request."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def raise_if_requested(self) -> None:
        """End a run that hasn't trained anything.

        Raises:
            TrainingStoppedError: the end was requested.
        """
        if self._is_requested:
            raise nothing_trained()

    def reset(self) -> None:
        """Forget the request, for the next run."""
        self._is_requested, self.signal = False, None

    @contextmanager
    def on_signals(self, enabled: bool = True) -> Iterator[None]:
        """Within it SIGTERM and SIGINT make a request instead of ending the process; other handlers stay installed.

        Only the main thread receives signals; a run in another thread gets no request from them.
        """
        before: dict[int, Any] = {}
        if enabled and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    before[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for changed, handler in before.items():
                signal.signal(changed, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second signal ends the run immediately."""
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        log.warning("%s: training ends after this step; send it again to end immediately", self.signal.name)
