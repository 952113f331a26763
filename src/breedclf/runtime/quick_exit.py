"""Exit without finalizing the interpreter, which takes a second or more once torch is loaded."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


def leave(code: int, *, wait: bool = True) -> NoReturn:
    """Exit like `sys.exit`: join threads, run exit functions and flush output, but skip the interpreter's finalization.

    Args:
        code: the exit status.
        wait: False skips joining threads and exit functions, for a process with threads that can't be stopped.
    """
    if wait:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM exit with status 0 within the block, while there is nothing to shut down yet.

    The first process of a container would otherwise ignore SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: leave(0, wait=False))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
