"""SIGTERM and SIGINT end a process of ours cleanly at any moment, also while it still imports what it needs."""

from __future__ import annotations

import os
import signal
import threading
from typing import NoReturn

EXIT_INTERRUPTED = 130
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_at_once_by_signals() -> None:
    """From now on both signals end the process at once, which suits imports: they can swallow an exception."""
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


def interrupt_by_signals() -> None:
    """From now on both signals raise KeyboardInterrupt, so that what was begun is cleaned up.

    A handler of the program's own stays, and so do those of a process that ignores SIGINT, as one in the background.
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
