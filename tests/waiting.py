"""Waiting for a condition: on a loaded machine, too, and not a moment longer than needed."""

from __future__ import annotations

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
