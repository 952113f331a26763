"""What an endpoint has been asked of late, how long it took, and what it costs: optional Protocols of backends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

ACTIVITY_MINUTES = 60
_RATIO = 1.02  # of the bounds of a bucket of latencies: percentiles are within 1%


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time that requests took in the model's server, in milliseconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class ActivityMinute:
    """One minute with requests; `start` is in seconds since 1970 (UTC), a multiple of 60.

    `client_errors` are requests that were refused (4xx), `server_errors` those that failed (5xx).
    """

    start: float
    requests: int
    client_errors: int = 0
    server_errors: int = 0
    latency: Latency | None = None


@dataclass(frozen=True)
class EndpointActivity:
    """The requests of the last hour; `minutes` has those with requests, oldest first.

    `latency` is None where only that of each minute is known.
    `is_complete` is False where there were too many requests to read them all. `last_request` is the time of the
    last request of all, in seconds since 1970 (UTC), None if there was none or it isn't known.
    """

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latency: Latency | None = None
    minutes: tuple[ActivityMinute, ...] = ()
    last_request: float | None = None
    is_complete: bool = True

    @property
    def error_rate(self) -> float | None:
        """The share of requests that weren't answered, 0 to 1; None without requests."""
        return (self.client_errors + self.server_errors) / self.requests if self.requests else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "minutes": [asdict(minute) for minute in self.minutes]}


@dataclass(frozen=True)
class EndpointCost:
    """What an endpoint costs, in US dollars before discounts and taxes; None where that isn't known, as `note` says."""

    machines: str
    usd_per_hour: float | None
    usd: float | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@runtime_checkable
class MeasuredBackend(Protocol):
    """A backend that counts the requests of its endpoints."""

    def endpoint_activity(self, name: str) -> EndpointActivity:
        """The requests of the last hour.

        Raises:
            EndpointError: they can't be read.
        """


@runtime_checkable
class PricedBackend(Protocol):
    """A backend whose endpoints cost money."""

    def endpoint_cost(self, name: str) -> EndpointCost:
        """What an endpoint costs, and has cost so far.

        Raises:
            EndpointError: there is no such endpoint, or it can't be described.
        """


@dataclass
class Requests:
    """Counts requests and their latencies in bounded memory; counts can be added.

    Example:
        >>> found = Requests()
        >>> for milliseconds in (10, 20, 30):
        ...     found.add(200, milliseconds)
        >>> found.latency().p50
        19.9
    """

    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    _buckets: Counter[int] = field(default_factory=Counter)

    def add(self, status: int, milliseconds: float) -> None:
        """Count a request with its HTTP status; 0 means that the connection was lost."""
        self.count += 1
        self.client_errors += 400 <= status < 500
        self.server_errors += status >= 500 or status == 0
        self._buckets[round(math.log(max(milliseconds, 0.01), _RATIO))] += 1

    @classmethod
    def total(cls, parts: Iterable[Requests]) -> Self:
        """All of these together."""
        total = cls()
        for part in parts:
            total.count += part.count
            total.client_errors += part.client_errors
            total.server_errors += part.server_errors
            total._buckets.update(part._buckets)
        return total

    def latency(self) -> Latency | None:
        """The percentiles, by nearest rank and to three digits; None without requests."""
        return Latency(*(self._percentile(share) for share in (0.5, 0.9, 0.99))) if self.count else None

    def _percentile(self, share: float) -> float:
        rank, seen = math.ceil(share * self.count), 0
        for bucket, count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return float(f"{_RATIO**bucket:.3g}")
        return math.nan


def activity_of(
    minutes: Mapping[int, Requests], now: float, *, last_request: float | None = None, is_complete: bool = True
) -> EndpointActivity:
    """The activity of the last hour, given the requests by minutes since 1970.

    Example:
        >>> activity_of({}, 0.0).error_rate is None
        True
    """
    first = int(now // 60) - ACTIVITY_MINUTES
    recent = {minute: found for minute, found in sorted(minutes.items()) if minute > first and found.count}
    total = Requests.total(recent.values())
    return EndpointActivity(
        total.count,
        total.client_errors,
        total.server_errors,
        total.latency(),
        tuple(
            ActivityMinute(60.0 * minute, found.count, found.client_errors, found.server_errors, found.latency())
            for minute, found in recent.items()
        ),
        last_request,
        is_complete,
    )
