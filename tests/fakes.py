"""Fakes that tests of several parts share."""

from __future__ import annotations


class FakeClock:
    """A clock that moves only when someone sleeps or the test advances it; records every sleep.

    Sleeps whose number (from 1) is in `interrupted_sleeps` raise KeyboardInterrupt, as Ctrl-C does.
    """

    def __init__(self, now: float = 1_000_000.0, *, interrupted_sleeps: tuple[int, ...] = ()) -> None:
        self.now = now
        self.slept: list[float] = []
        self._interrupted = interrupted_sleeps

    def __call__(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) in self._interrupted:
            raise KeyboardInterrupt

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep."""
        self.now += seconds
