"""Waiting for jobs: how often to poll, how long late results may take, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from breedclf.jobs.protocols import DelayedBackend, PacedBackend
from breedclf.jobs.status import JobDescription

SECOND_INTERRUPT_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


class Clock(Protocol):
    """The functions of the `time` module that are used here; tests pass their own."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class _SystemClock:
    """The `time` module's functions in an object, which can be pickled with the handle or backend that has it."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        time.sleep(seconds)

    def __reduce__(self) -> str:
        return "SYSTEM_CLOCK"


SYSTEM_CLOCK: Clock = _SystemClock()


def pauses(
    backend: object = None, *, growth: float = 1.3, longest_seconds: float = _LONGEST_PAUSE_SECONDS
) -> Iterator[float]:
    """Seconds to wait before each next poll: growing, up to a limit.

    A `PacedBackend` sets its own pace; without a backend, or with any other, pauses start at 20 ms.

    Example:
        >>> waits = pauses()
        >>> [round(next(waits), 3) for _ in range(3)]
        [0.02, 0.026, 0.034]
    """
    pause = _FIRST_PAUSE_SECONDS
    if isinstance(backend, PacedBackend):
        pause, longest_seconds = backend.poll_seconds, 2 * backend.poll_seconds
    while True:
        yield pause
        pause = min(pause * growth, longest_seconds)


def seconds_until_complete(backend: object, description: JobDescription, now: float) -> float:
    """Seconds until the log and the metrics of an ended job are complete; 0 if they are.

    `now` is in seconds since 1970. If this machine's clock differs from the backend's, the wait is still at most the
    backend's delay.
    """
    if not isinstance(backend, DelayedBackend) or description.ended is None:
        return 0.0
    delay = backend.delay_seconds
    return min(delay, max(0.0, delay - (now - description.ended)))


def detach(notice: Callable[[], str | None], stop: Callable[[], None], clock: Clock) -> None:
    """After Ctrl-C: print how to come back, and call `stop` if Ctrl-C is pressed again within 2 seconds.

    `notice` returns the text, or None if nothing is running any more.
    """
    try:
        text = notice()
        if text is None:
            return
        print_on_stderr(text)
        clock.sleep(SECOND_INTERRUPT_SECONDS)
    except KeyboardInterrupt:
        stop()


def print_on_stderr(text: str) -> None:
    """Print a line on stderr at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
