"""End this process cleanly on SIGTERM and SIGINT at any time, also while it is still importing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once_by_signals() -> None:
    """From now on both signals end the process immediately: during imports an exception could be swallowed."""
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


def interrupt_by_signals() -> None:
    """From now on both signals raise KeyboardInterrupt, so that cleanup runs.

    A handler that the program has set stays, and a process that ignores SIGINT, such as a background job, still does.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _leave):
            signal.signal(number, signal.default_int_handler)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While a command imports native libraries, both signals end it immediately: some abort on an exception.

    It has no effect in a program of a user, whose signal handlers stay as they are.
    """
    is_command = signal.getsignal(signal.SIGTERM) is signal.default_int_handler  # set by `interrupt_by_signals` alone
    if threading.current_thread() is not threading.main_thread() or not is_command:
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    interrupting = [number for number in _SIGNALS if before[number] is signal.default_int_handler]
    for number in interrupting:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in interrupting:
            signal.signal(number, before[number])


def _leave(number: int, frame: object) -> NoReturn:
    del number, frame
    os.write(2, b"breedclf: interrupted\n")
    os._exit(EXIT_INTERRUPTED)
