"""The end of a process without taking torch apart module by module, which costs a second or more and gains nothing."""

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
    """End the process as `sys.exit` does, with threads joined, exit functions run and output flushed, but at once.

    Without `wait` nothing is joined or run: for a process some of whose threads can't be stopped.
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
    """Within it SIGTERM ends the process with 0: before there is anything to bring to an end.

    The first process of a container would otherwise not hear it at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: leave(0, wait=False))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
