"""One request's way through the server: admission, decoding, network, answer; within bounds and times."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from breedclf.inference.prediction import Prediction
from breedclf.serving.batching import Batcher
from breedclf.serving.core import BusyError, RequestError, images_in
from breedclf.serving.decoding.decoders import Decoders
from breedclf.serving.engines.engine import Engine

log: logging.Logger = logging.getLogger(__name__)

PROBE_FRESH_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 1.8
STUCK_SECONDS = 30.0


@dataclass(frozen=True)
class Bounds:
    """How much goes on at a time and how long it may take.

    `max_pending` counts pictures from admission to answer. A request is let in once its body has arrived and while
    fewer are under way, and brings all of its own, so that one with several isn't always refused under traffic; others
    are refused with 503 at once. A picture then waits no longer than `max_pending` and the longest request take. Two
    batches keep the network busy; more would only wait longer.

    Up to `max_arriving` bodies, `max_arriving_bytes` together, may be on their way: beyond, the one that began first is
    refused. One over the limit is read and thrown away up to `max_thrown_away_bytes`, so that its sender hears why.
    Decoding an image takes `decode_seconds` at most.
    """

    max_pending: int = 32
    max_batch: int = 16
    max_delay_seconds: float = 0.025
    decoders: int = 4
    decode_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 55.0
    max_arriving: int = 256
    max_arriving_bytes: int = 256 << 20
    max_thrown_away_bytes: int = 256 << 20


class Pipeline:
    """The engine with its threads: what admission lets in is decoded in a small pool, then goes through the batcher."""

    def __init__(self, engine: Engine, bounds: Bounds, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self._bounds = bounds
        self._clock = clock
        self._pending = 0
        self._seconds_each = 0.05
        self._decoders = Decoders(engine, bounds.decoders, seconds=bounds.decode_seconds, clock=clock)
        self._parser = ThreadPoolExecutor(1, "parse")
        self._batcher: Batcher[torch.Tensor, Prediction] = Batcher(
            engine.forward, max_batch=bounds.max_batch, max_delay_seconds=bounds.max_delay_seconds, clock=clock
        )

    def require_room(self, *, held: int = 0) -> None:
        """See that there is room for one more request; `held` are its own pictures.

        Raises:
            BusyError: too many of others are under way.
        """
        if self._pending - held >= self._bounds.max_pending:
            wait = max(1, math.ceil(self._pending * self._seconds_each))
            raise BusyError("Overloaded", f"{self._pending} pictures are waiting; try again in {wait} s", wait)

    def admit(self, pictures: int, *, held: int = 0) -> None:
        """Take up room for some pictures, to be given back by `release`; `held` are the same request's from before.

        Raises:
            BusyError: too many of others are under way.
        """
        self.require_room(held=held)
        self._pending += pictures

    def release(self, pictures: int) -> None:
        """Give room back."""
        self._pending -= pictures

    async def parsed(self, body: bytes, content_type: str | None) -> list[bytes]:
        """As `images_in`, beside the event loop, which has others to serve.

        Raises:
            RequestError: what the body is refused for.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parser, images_in, body, content_type, self.engine.limits)

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
        """Whether decoders are free or at work, and the network answered a moment ago, or answers now."""
        if self.stuck_seconds > 0:
            log.error("every decoder is stuck, for %.0f s", self.stuck_seconds)
            return False
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

    @property
    def stuck_seconds(self) -> float:
        """For how long every decoder has been at an image that should be done; 0 while one is well."""
        return self._decoders.stuck_seconds

    def close(self) -> None:
        """End the threads."""
        self._parser.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._batcher.close()

    async def _predict_one(self, picture: bytes) -> Prediction:
        with self._batcher.announced():
            decoded = await self._decoders.decode(picture)
            answer = self._batcher.submit(decoded)
        return await answer
