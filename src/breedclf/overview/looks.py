"""How often a backend is asked: results are reused until they are too old, and a service is asked only so often."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from breedclf.errors import BreedclfError
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """Results younger than `seconds` are reused; in any minute, a backend is asked at most `per_minute` times."""

    seconds: float = 0.4
    per_minute: int | None = None


LOCAL_PACE = Pace()
SERVICE_PACE = Pace(seconds=15.0, per_minute=4)


@dataclass(frozen=True)
class Look(Generic[T]):
    """What a look found, when (seconds since 1970, UTC), and why the last one failed, if it did.

    After a failure, `value` is that of the last look that succeeded, None if there was none.
    """

    value: T | None
    time: float
    problem: str = ""


class Looks:
    """Caches looks by key; any number of threads may ask."""

    def __init__(self, pace: Pace = LOCAL_PACE, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._pace = pace
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._found: dict[Hashable, tuple[float, Look[Any]]] = {}
        self._asked: deque[float] = deque()

    def look(self, key: Hashable, ask: Callable[[], T]) -> Look[T]:
        """The latest result for the key, after asking if it is old and the pace permits.

        Errors of breedclf become the look's `problem`: the rest of a page doesn't depend on it.
        """
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            found = self._found.get(key)
            now = self._clock.monotonic()
            if found is not None and (now - found[0] < self._pace.seconds or not self._may_ask(now)):
                return cast(Look[T], found[1])
            if found is None:
                self._may_ask(now)
            before = None if found is None else found[1].value
            try:
                latest: Look[Any] = Look(ask(), self._clock.time())
            except BreedclfError as error:
                latest = Look(before, self._clock.time() if found is None else found[1].time, str(error))
            self._found[key] = (self._clock.monotonic(), latest)
            return cast(Look[T], latest)

    def forget(self) -> None:
        """Let the next looks ask, as after an action."""
        with self._lock:
            self._found.clear()

    def _may_ask(self, now: float) -> bool:
        """Whether the backend may be asked now; counts it if so."""
        if self._pace.per_minute is None:
            return True
        with self._lock:
            while self._asked and now - self._asked[0] >= 60:
                self._asked.popleft()
            if len(self._asked) >= self._pace.per_minute:
                return False
            self._asked.append(now)
            return True
