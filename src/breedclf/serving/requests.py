"""One request's way through the server: admission, body, decoding, network, answer; within bounds and times."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from starlette.types import Receive

from breedclf.learning.prediction import Prediction
from breedclf.learning.threads import single_core_threads
from breedclf.serving.batching import Batcher
from breedclf.serving.core import Limits, RequestError, too_large
from breedclf.serving.engine import Engine

log = logging.getLogger(__name__)

PROBE_FRESH_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 1.8


@dataclass(frozen=True)
class Bounds:
    """How much goes on at a time and how long it may take.

    `max_pending` counts pictures from admission to answer. A request is let in while fewer are under way, and brings
    all of its own, so that one with several isn't always refused under traffic; others are refused with 503 at once. A
    picture then waits no longer than `max_pending` and the longest request take. Two batches keep the network busy;
    more would only wait longer. A body over the limit is read and thrown away up to `max_thrown_away_bytes`, so that
    its sender hears why.
    """

    max_pending: int = 32
    max_batch: int = 16
    max_delay_seconds: float = 0.025
    decoders: int = 4
    body_seconds: float = 20.0
    answer_seconds: float = 55.0
    max_thrown_away_bytes: int = 256 << 20


class BusyError(RequestError):
    """The server can't take the request now; `retry_after` is in whole seconds."""

    def __init__(self, code: str, message: str, retry_after: int) -> None:
        super().__init__(503, code, message)
        self.retry_after = retry_after


class Pipeline:
    """The engine with its threads: what admission lets in is decoded in a small pool, then goes through the batcher."""

    def __init__(self, engine: Engine, bounds: Bounds, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self._bounds = bounds
        self._clock = clock
        self._pending = 0
        self._seconds_each = 0.05
        self._decoders = single_core_threads(bounds.decoders)
        self._batcher: Batcher[torch.Tensor, Prediction] = Batcher(
            engine.forward, max_batch=bounds.max_batch, max_delay_seconds=bounds.max_delay_seconds, clock=clock
        )

    def admit(self, pictures: int, *, held: int = 0) -> None:
        """Take up room for some pictures, to be given back by `release`; `held` are the same request's from before.

        Raises:
            BusyError: too many of others are under way.
        """
        if self._pending - held >= self._bounds.max_pending:
            wait = max(1, math.ceil(self._pending * self._seconds_each))
            raise BusyError("Overloaded", f"{self._pending} pictures are waiting; try again in {wait} s", wait)
        self._pending += pictures

    def release(self, pictures: int) -> None:
        """Give room back."""
        self._pending -= pictures

    async def predict(self, pictures: Sequence[bytes]) -> list[Prediction]:
        """One prediction a picture, in order.

        Raises:
            RequestError: a picture can't be decoded, or the time is over.
        """
        started = self._clock()
        try:
            async with asyncio.timeout(self._bounds.answer_seconds):
                done = await asyncio.gather(*map(self._predict_one, pictures), return_exceptions=True)
        except TimeoutError as error:
            raise BusyError("Timeout", f"no answer within {self._bounds.answer_seconds:g} s", 5) from error
        answers = []
        for number, each in enumerate(done):
            if isinstance(each, RequestError) and len(pictures) > 1:
                raise RequestError(each.status, each.code, f"instance {number}: {each}") from each
            if isinstance(each, BaseException):
                raise each
            answers.append(each)
        seconds = (self._clock() - started) / max(1, self._pending)
        self._seconds_each += 0.2 * (min(seconds, 5.0) - self._seconds_each)
        return answers

    async def answers(self) -> bool:
        """Whether the network answered a moment ago, or answers now."""
        last = self._batcher.last_success
        if last is not None and self._clock() - last < PROBE_FRESH_SECONDS:
            return True
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await self._batcher.submit(self.engine.sample(), first=True)
        except Exception:
            log.warning("the model doesn't answer", exc_info=True)
            return False
        return True

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    async def _predict_one(self, picture: bytes) -> Prediction:
        with self._batcher.announced():
            decoded = await asyncio.get_running_loop().run_in_executor(self._decoders, self.engine.decode, picture)
            answer = self._batcher.submit(decoded)
        return await answer


async def read_body(receive: Receive, limits: Limits, bounds: Bounds) -> bytes:
    """A request's whole body; one over the limit is read to its end before it is refused.

    Args:
        receive: the messages of the request, as ASGI brings them.
        limits: how many bytes are taken.
        bounds: how long it may take, and how much is thrown away.

    Raises:
        RequestError: 413 when it is too long, 408 when it comes too slowly, 400 when the client left before its end.
    """
    size = 0
    parts: list[bytes] = []
    excess = False
    try:
        async with asyncio.timeout(bounds.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError(400, "IncompleteBody", "the connection ended before the body did")
                size += len(message.get("body", b""))
                excess = excess or size > limits.max_body_bytes
                if excess:
                    parts.clear()
                else:
                    parts.append(message.get("body", b""))
                if not message.get("more_body", False) or size > bounds.max_thrown_away_bytes:
                    break
    except TimeoutError as error:
        raise RequestError(408, "Timeout", f"the body didn't arrive within {bounds.body_seconds:g} s") from error
    if excess:
        raise too_large(limits)
    return b"".join(parts)
