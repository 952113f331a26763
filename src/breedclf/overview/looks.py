"""How often a backend is asked: results are reused until they are too old, and a service is asked only so often."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from breedclf.errors import BreedclfError
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock

T = TypeVar("T")
Stamp = Callable[[], Hashable]

_TRUSTED_SECONDS = 60.0  # for which an equal stamp means an equal result
_WANTED_SECONDS = 5.0  # within which open pages look again
_MOST_ENTRIES = 64  # beyond which those that nobody wants are dropped
_MOST_STAMPS = 1000
_NEVER = float("-inf")

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """When a backend is asked again.

    Results younger than `seconds` are reused, after failures up to `longest_seconds`; in any minute, a backend is asked
    at most `per_minute` times, half of them to look again. A first look waits `patience_seconds` for its answer, or as
    long as it takes if that is None. Results that nobody wants are kept for `kept_seconds`.
    """

    seconds: float = 0.4
    per_minute: int | None = None
    longest_seconds: float = 0.4
    patience_seconds: float | None = None
    kept_seconds: float = 60.0

    @classmethod
    def of_service(cls, poll_seconds: float) -> Pace:
        """The pace for a service that may be asked every `poll_seconds`.

        Example:
            >>> Pace.of_service(15.0).per_minute
            4
        """
        return cls(poll_seconds, max(1, int(60 / poll_seconds)), 8 * poll_seconds, 2.5, 900.0)


LOCAL_PACE = Pace()
SERVICE_PACE = Pace.of_service(15.0)


@dataclass(frozen=True)
class Look(Generic[T]):
    """What a look found, when (seconds since 1970, UTC), and why the last one failed, if it did.

    After a failure, `value` is that of the last look that succeeded, None if there was none. A look that `is_waiting`
    has not been answered yet, or has not been asked: then `due` is when it can be.
    """

    value: T | None
    time: float
    problem: str = ""
    is_waiting: bool = False
    due: float | None = None

    def found(self, error: type[BreedclfError]) -> T:
        """The value.

        Raises:
            BreedclfError: there is none; `error` with the problem.
        """
        if self.value is None:
            raise error(self.problem)
        return self.value


@dataclass
class _Entry:
    """The latest look of a key, with its version, which grows when it changes."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    look: Look[Any] | None = None
    version: int = 0
    at: float = _NEVER  # of the last answer
    asked: float = _NEVER  # of the last answer that was asked for
    stamp: Hashable = None
    failures: int = 0
    wanted: float = _NEVER
    asking: threading.Event | None = None
    is_urgent: bool = False
    forgotten: int = 0


@dataclass
class Seen:
    """What a page was made of: its looks and their versions then."""

    _looks: dict[tuple[Looks, Hashable], tuple[int, Callable[[], Any], Stamp | None]] = field(default_factory=dict)
    is_waiting: bool = False
    due: float | None = None

    def add(self, looks: Looks, key: Hashable, version: int, ask: Callable[[], Any], stamp: Stamp | None) -> None:
        """Note a look."""
        self._looks[looks, key] = version, ask, stamp

    def is_current(self) -> bool:
        """Whether the page would be the same now, after asking again what is due; False for a page without looks."""
        found = [
            looks.look_with_version(key, ask, stamp)[1] == version
            for (looks, key), (version, ask, stamp) in self._looks.items()
        ]
        return bool(found) and all(found)


_SEEN: ContextVar[Seen | None] = ContextVar("seen", default=None)


@contextlib.contextmanager
def seen_looks() -> Iterator[Seen]:
    """Note the looks of this thread within the block."""
    seen = Seen()
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


class Looks:
    """Caches looks by key; any number of threads may ask."""

    def __init__(self, pace: Pace = LOCAL_PACE, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._pace = pace
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}
        self._asked: deque[tuple[float, float]] = deque()  # monotonic and wall time

    def look(self, key: Hashable, ask: Callable[[], T], stamp: Stamp | None = None) -> Look[T]:
        """The latest result for the key, after asking if it is old and the pace permits.

        Errors of breedclf and of the file system become the look's `problem`: the rest of a page doesn't depend on it.
        A `stamp` is cheap, and differs once the result does: while it is equal, the backend isn't asked.
        """
        found, version = self.look_with_version(key, ask, stamp)
        if (seen := _SEEN.get()) is not None:
            seen.add(self, key, version, ask, stamp)
            if found.is_waiting:
                seen.is_waiting, seen.due = True, found.due or seen.due
        return found

    def look_with_version(self, key: Hashable, ask: Callable[[], T], stamp: Stamp | None = None) -> tuple[Look[T], int]:
        """As `look`, with a number that grows when the result changes."""
        entry = self._entry(key)
        if self._pace.patience_seconds is None:
            with entry.lock:
                if self._is_due(entry, self._clock.monotonic()) and self._may_ask(entry):
                    self._answer(entry, ask, stamp)
        else:
            self._ask_aside(entry, ask, self._pace.patience_seconds)
        with entry.lock:
            look = entry.look or self._waiting(entry)
            return cast(Look[T], look), entry.version

    def forget(self) -> None:
        """Let the next looks ask, as after an action."""
        with self._lock:
            for entry in self._entries.values():
                entry.at, entry.stamp, entry.is_urgent = _NEVER, None, True
                entry.forgotten += 1

    def _entry(self, key: Hashable) -> _Entry:
        now = self._clock.monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                if len(self._entries) >= _MOST_ENTRIES:
                    self._drop_unwanted(now)
                entry = self._entries[key] = _Entry()
            entry.wanted = now
            return entry

    def _drop_unwanted(self, now: float) -> None:
        before = now - self._pace.kept_seconds
        self._entries = {key: each for key, each in self._entries.items() if each.wanted > before or each.asking}

    def _is_due(self, entry: _Entry, now: float) -> bool:
        pause = min(self._pace.seconds * 2**entry.failures, max(self._pace.seconds, self._pace.longest_seconds))
        return entry.asking is None and now - entry.at >= pause

    def _ask_aside(self, entry: _Entry, ask: Callable[[], Any], patience: float) -> None:
        """Ask in a thread of its own, and wait for the first answer; later ones are seen when they have come."""
        with entry.lock:
            if self._is_due(entry, self._clock.monotonic()) and self._may_ask(entry):
                entry.asking = threading.Event()
                threading.Thread(target=self._answer_aside, args=(entry, ask, entry.asking), daemon=True).start()
            asking = entry.asking if entry.look is None else None
        if asking is not None:
            asking.wait(patience)

    def _answer_aside(self, entry: _Entry, ask: Callable[[], Any], asking: threading.Event) -> None:
        fresh = _Entry(look=entry.look, failures=entry.failures, forgotten=entry.forgotten)
        self._answer(fresh, ask, None)
        with entry.lock:
            entry.look, entry.failures, entry.asking = fresh.look, fresh.failures, None
            entry.version += fresh.version
            if entry.forgotten == fresh.forgotten:
                entry.at = fresh.at
        asking.set()

    def _answer(self, entry: _Entry, ask: Callable[[], Any], stamp: Stamp | None) -> None:
        """Ask, unless the stamp says that the answer would be the same."""
        before, now = entry.look, self._clock.monotonic()
        stamped = _stamped(stamp)
        entry.is_urgent = False
        is_same = stamped is not None and stamped == entry.stamp and before is not None and not before.problem
        if is_same and now - entry.asked < _TRUSTED_SECONDS:
            entry.at = now
            return
        try:
            latest: Look[Any] = Look(ask(), self._clock.time())
            entry.failures = 0
        except (BreedclfError, OSError) as error:
            latest = self._failed(before, str(error))
            entry.failures = min(entry.failures + 1, 10)
        except Exception as error:
            if self._pace.patience_seconds is None:
                raise
            log.exception("a look failed")
            latest = self._failed(before, f"{type(error).__name__}: {error}")
            entry.failures = min(entry.failures + 1, 10)
        entry.look, entry.stamp = latest, stamped
        entry.at = entry.asked = self._clock.monotonic()
        entry.version += before is None or _differ(before, latest)

    def _failed(self, before: Look[Any] | None, problem: str) -> Look[Any]:
        return Look(None, self._clock.time(), problem) if before is None else replace(before, problem=problem)

    def _waiting(self, entry: _Entry) -> Look[Any]:
        now = self._clock.time()
        if entry.asking is not None:
            return Look(None, now, "the backend hasn't answered yet", is_waiting=True)
        with self._lock:
            due = self._asked[0][1] + 60 if self._asked else now
        return Look(None, now, "waiting until the backend may be asked again", is_waiting=True, due=due)

    def _may_ask(self, entry: _Entry) -> bool:
        """Whether the backend may be asked for this now; counts it if so.

        Half of the looks are kept for first ones and for those after an action; the others go to the oldest results.
        """
        most = self._pace.per_minute
        if most is None:
            return True
        with self._lock:
            now = self._clock.monotonic()
            while self._asked and now - self._asked[0][0] >= 60:
                self._asked.popleft()
            if entry.look is not None and not entry.is_urgent:
                most = max(1, most // 2)
                others = (each for each in self._entries.values() if each is not entry and each.look is not None)
                open_ones = (each for each in others if now - each.wanted < _WANTED_SECONDS)
                if any(each.at < entry.at and self._is_due(each, now) for each in open_ones):
                    return False
            if len(self._asked) >= most:
                return False
            self._asked.append((now, self._clock.time()))
            return True


@dataclass
class RecentStamps:
    """Stamps by name, reused for half of a pace: the looks of a page, and of all pages made together, share them."""

    clock: Clock = SYSTEM_CLOCK
    _found: dict[str | None, tuple[float, Hashable]] = field(default_factory=dict)

    def of(self, name: str | None, stamp: Callable[[str | None], Hashable]) -> Hashable:
        """The stamp of this name; what it is for may be newer, never older."""
        now = self.clock.monotonic()
        at, found = self._found.get(name, (_NEVER, None))
        if not 0 <= now - at < LOCAL_PACE.seconds / 2:
            if len(self._found) > _MOST_STAMPS:
                self._found.clear()
            found = stamp(name)
            self._found[name] = now, found
        return found


def _stamped(stamp: Stamp | None) -> Hashable:
    if stamp is None:
        return None
    try:
        return stamp()
    except (BreedclfError, OSError):
        return None


def _differ(before: Look[Any], after: Look[Any]) -> bool:
    if before.problem != after.problem:
        return True
    try:
        return bool(before.value != after.value)
    except Exception:  # noqa: BLE001 - values such as arrays can't be compared as a whole
        return True
