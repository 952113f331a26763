"""End this process cleanly on SIGTERM and SIGINT at any time, also while it is still importing."""

from __future__ import annotations

import os
import signal
import threading
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


def _leave(number: int, frame: object) -> NoReturn:
    del number, frame
    os.write(2, b"breedclf: interrupted\n")
    os._exit(EXIT_INTERRUPTED)
