"""Reads request bodies, with limits on their number, size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.types import Receive

from breedclf.serving.core import Limits, RequestError, too_large
from breedclf.serving.requests import Bounds


class Arrivals:
    """Bodies in transit. If there are too many, the oldest one is refused, since regular clients finish quickly.

    Args:
        limits: the size limit of a body.
        bounds: limits on bodies and bytes in transit, and on time.
    """

    def __init__(self, limits: Limits, bounds: Bounds) -> None:
        self._limits = limits
        self._bounds = bounds
        self._arriving: dict[_Arrival, None] = {}
        self._bytes = 0

    async def body(self, receive: Receive) -> bytes:
        """Read the complete body of a request.

        Raises:
            RequestError: 413 if it is too large, 408 if it takes too long, 400 if the client disconnected.
        """
        try:
            async with asyncio.timeout(self._bounds.body_seconds) as timer:
                with self._tracked(timer) as arrival:
                    return await read_body(receive, self._limits, self._bounds, arrival)
        except TimeoutError as error:
            raise too_slow(self._bounds) from error

    @contextmanager
    def _tracked(self, timer: asyncio.Timeout) -> Iterator[_Arrival]:
        arrival = _Arrival(self, timer)
        self._arriving[arrival] = None
        self._enforce_bounds()
        try:
            yield arrival
        finally:
            self._forget(arrival)

    def grew(self, arrival: _Arrival, size: int) -> None:
        """Count `size` more bytes of a body."""
        if arrival in self._arriving:
            arrival.size += size
            self._bytes += size
            self._enforce_bounds()

    def _enforce_bounds(self) -> None:
        while len(self._arriving) > self._bounds.max_arriving or self._bytes > self._bounds.max_arriving_bytes:
            first = next(iter(self._arriving))
            self._forget(first)
            with suppress(RuntimeError):  # its timeout has just expired
                first.timer.reschedule(0)

    def _forget(self, arrival: _Arrival) -> None:
        if arrival in self._arriving:
            del self._arriving[arrival]
            self._bytes -= arrival.size


class _Arrival:
    """One body in transit."""

    def __init__(self, arrivals: Arrivals, timer: asyncio.Timeout) -> None:
        self.timer = timer
        self.size = 0
        self._arrivals = arrivals

    def grew(self, size: int) -> None:
        self._arrivals.grew(self, size)


async def read_body(receive: Receive, limits: Limits, bounds: Bounds, arrival: _Arrival | None = None) -> bytes:
    """Read a body; one over the size limit is read up to `max_discarded_bytes`, then refused.

    Raises:
        RequestError: 413 if it is too large, 400 if the client disconnected.
    """
    size = 0
    parts: list[bytes] = []
    more = True
    while more and size <= bounds.max_discarded_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "IncompleteBody", "the connection was closed before the end of the body")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limits.max_body_bytes:
            parts.clear()
            continue
        parts.append(part)
        if arrival is not None:
            arrival.grew(len(part))
    if size > limits.max_body_bytes:
        raise too_large(limits)
    return b"".join(parts)


def too_slow(bounds: Bounds) -> RequestError:
    """The error for a body that takes too long."""
    return RequestError(
        408,
        "Timeout",
        f"the body didn't arrive within {bounds.body_seconds:g} s, or was dropped for newer ones; send it again, "
        "faster",
    )
