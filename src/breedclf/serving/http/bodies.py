"""Bodies on their way to the server: read whole, within bounds on their number, their bytes and their time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.types import Receive

from breedclf.serving.core import Limits, RequestError, too_large
from breedclf.serving.requests import Bounds


class Arrivals:
    """What is arriving now. Where it becomes too much, the body that began first has to go: an honest one is quick.

    Args:
        limits: how many bytes a body may have.
        bounds: how many bodies and bytes may be on their way, and for how long.
    """

    def __init__(self, limits: Limits, bounds: Bounds) -> None:
        self._limits = limits
        self._bounds = bounds
        self._arriving: dict[_Arrival, None] = {}
        self._bytes = 0

    async def body(self, receive: Receive) -> bytes:
        """A request's whole body.

        Raises:
            RequestError: 413 when it is too long, 408 when it comes too slowly, 400 when the client left before its
                end.
        """
        try:
            async with asyncio.timeout(self._bounds.body_seconds) as timer:
                with self._one_more(timer) as arrival:
                    return await read_body(receive, self._limits, self._bounds, arrival)
        except TimeoutError as error:
            raise too_slow(self._bounds) from error

    @contextmanager
    def _one_more(self, timer: asyncio.Timeout) -> Iterator[_Arrival]:
        arrival = _Arrival(self, timer)
        self._arriving[arrival] = None
        self._make_room()
        try:
            yield arrival
        finally:
            self._forget(arrival)

    def grew(self, arrival: _Arrival, size: int) -> None:
        """So many more bytes are held for a body."""
        if arrival in self._arriving:
            arrival.size += size
            self._bytes += size
            self._make_room()

    def _make_room(self) -> None:
        while len(self._arriving) > self._bounds.max_arriving or self._bytes > self._bounds.max_arriving_bytes:
            first = next(iter(self._arriving))
            self._forget(first)
            with suppress(RuntimeError):  # its time is over just now
                first.timer.reschedule(0)

    def _forget(self, arrival: _Arrival) -> None:
        if arrival in self._arriving:
            del self._arriving[arrival]
            self._bytes -= arrival.size


class _Arrival:
    """One body on its way."""

    def __init__(self, arrivals: Arrivals, timer: asyncio.Timeout) -> None:
        self.timer = timer
        self.size = 0
        self._arrivals = arrivals

    def grew(self, size: int) -> None:
        self._arrivals.grew(self, size)


async def read_body(receive: Receive, limits: Limits, bounds: Bounds, arrival: _Arrival | None = None) -> bytes:
    """A body as it comes; one over the limit is read to its end, or as far as that is worth it, before it is refused.

    Raises:
        RequestError: 413 when it is too long, 400 when the client left before its end.
    """
    size = 0
    parts: list[bytes] = []
    more = True
    while more and size <= bounds.max_thrown_away_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "IncompleteBody", "the connection ended before the body did")
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
    """The refusal of a body that takes too long."""
    return RequestError(
        408,
        "Timeout",
        f"the body didn't arrive within {bounds.body_seconds:g} s, or gave way to newer ones; send it again, at once",
    )
