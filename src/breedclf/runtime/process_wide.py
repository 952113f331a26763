"""Changes of process-wide state that several threads may need at the same time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ProcessWide:
    """A change of process-wide state that blocks in several threads may need at once, or nested.

    The first block makes the change, and the last one undoes it, however it ends.

    Args:
        change: makes the change and returns what undoes it.
    """

    def __init__(self, change: Callable[[], Callable[[], object]]) -> None:
        self._change = change
        self._mutex = threading.RLock()  # a signal handler may start a run in the thread that holds it
        self._blocks = 0
        self._undo: Callable[[], object] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        counted = False
        try:
            with self._mutex:
                if not self._blocks:
                    self._undo = self._change()
                self._blocks += 1
                counted = True
            yield
        finally:
            if counted:
                with self._mutex:
                    self._blocks -= 1
                    if not self._blocks and self._undo is not None:
                        self._undo()


def _ignore_all_warnings() -> Callable[[], object]:
    block = warnings.catch_warnings()
    block.__enter__()
    warnings.simplefilter("ignore")
    return lambda: block.__exit__(None, None, None)


without_warnings = ProcessWide(_ignore_all_warnings)
"""Ignores the warnings of other packages within the block; `warnings.catch_warnings` isn't safe in threads."""
