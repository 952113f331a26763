"""Waiting for a condition: on a loaded machine, too, and not a moment longer than needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE_SECONDS = 90.0


def until(condition: Callable[[], Found], seconds: float = PATIENCE_SECONDS) -> Found:
    """Wait until the condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it didn't become true in time"
        time.sleep(0.02)
    return found


def under_load(seconds: float) -> float:
    """How long may take here and now what takes `seconds` on an idle machine.

    With more processes that want to compute than cores, everything takes as many times as long.
    """
    waiting = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return seconds * max(1.0, waiting / (os.cpu_count() or 1))
