"""The request pipeline: admission, decoding, the network, and the response, with limits on count and time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from breedclf.inference.prediction import Prediction
from breedclf.runtime.threads import single_core_threads
from breedclf.serving.admission import Admission
from breedclf.serving.batching import Batcher
from breedclf.serving.core import BusyError, RequestError, images_in
from breedclf.serving.decoding.decoders import Decoders
from breedclf.serving.engines.engine import Engine
from breedclf.serving.explaining import ExplanationRequest, chosen_classes, document_of, explanation_of

log: logging.Logger = logging.getLogger(__name__)

PROBE_FRESH_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 1.8
STUCK_SECONDS = 30.0


@dataclass(frozen=True)
class Bounds:
    """Limits on concurrency and time.

    `max_pending` counts images from admission to response. A request is admitted with all its images once its body has
    arrived, if fewer images than that are pending, so that requests with several images aren't always refused under
    load; others are refused with 503 immediately (see `Admission`). Two batches keep the network busy; more would only
    wait longer.

    Up to `max_arriving` bodies with `max_arriving_bytes` in total may be in transit; beyond that, the oldest one is
    refused. A body over the size limit is read and discarded up to `max_discarded_bytes`, so that the client receives
    the error. Decoding an image takes at most `decode_seconds`. Up to `max_explanations` images are explained or wait
    for it; the network explains one at a time, and between two of them predicts a batch of others.
    """

    max_pending: int = 32
    max_batch: int = 16
    max_explanations: int = 4
    max_delay_seconds: float = 0.025
    decoders: int = 4
    decode_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 55.0
    max_arriving: int = 256
    max_arriving_bytes: int = 256 << 20
    max_discarded_bytes: int = 256 << 20


class Pipeline:
    """The engine with its threads: admitted images are decoded in a small pool, then passed to the batcher."""

    def __init__(self, engine: Engine, bounds: Bounds, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self._bounds = bounds
        self._clock = clock
        self.admission = Admission(bounds.max_pending, clock=clock)
        self._decoders = Decoders(engine, bounds.decoders, seconds=bounds.decode_seconds, clock=clock)
        self._parser = ThreadPoolExecutor(1, "parse")
        self._explaining = 0
        self._explanation_thread = single_core_threads(1)
        self._batcher: Batcher[torch.Tensor, Prediction] = Batcher(
            engine.forward, max_batch=bounds.max_batch, max_delay_seconds=bounds.max_delay_seconds, clock=clock
        )

    async def parsed(self, body: bytes, content_type: str | None) -> list[bytes]:
        """`images_in` in a thread, so that it doesn't block the event loop.

        Raises:
            RequestError: the body is invalid.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parser, images_in, body, content_type, self.engine.limits)

    async def predict(self, images: Sequence[bytes]) -> list[Prediction]:
        """Predict all images, in order.

        Raises:
            RequestError: an image can't be decoded, or the time limit was reached.
        """
        async with self._time_limit():
            done = await asyncio.gather(*map(self._predict_one, images), return_exceptions=True)
        answers = []
        for number, each in enumerate(done):
            if isinstance(each, RequestError) and len(images) > 1:
                raise RequestError(each.status, each.code, f"instance {number}: {each}") from each
            if isinstance(each, BaseException):
                raise each
            answers.append(each)
        self.admission.answered(len(answers))
        return answers

    async def explain(self, image: bytes, wanted: ExplanationRequest) -> tuple[Prediction, dict[str, Any]]:
        """Predict an image and explain the prediction, by one pass of its own; the explanation as JSON values.

        Raises:
            RequestError: the engine or the network has no maps, there is no such class, or as `predict`.
            BusyError: too many other images are being explained.
        """
        if self._explaining >= self._bounds.max_explanations:
            raise BusyError("Overloaded", f"{self._explaining} images are being explained; try again in 1 s", 1)
        self._explaining += 1
        try:
            async with self._time_limit():
                return await self._explain_one(image, wanted)
        finally:
            self._explaining -= 1

    async def responds(self) -> bool:
        """Whether the decoders aren't stuck, and the network responded recently or responds now."""
        if self.stuck_seconds > 0:
            log.error("all decoders have been stuck for %.0f s", self.stuck_seconds)
            return False
        last = self._batcher.last_success
        if last is not None and self._clock() - last < PROBE_FRESH_SECONDS:
            return True
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await self._batcher.submit(self.engine.sample(), first=True)
        except Exception:
            log.warning("the model doesn't respond", exc_info=True)
            return False
        return True

    @property
    def stuck_seconds(self) -> float:
        """Seconds since which all decoders have exceeded their time limit; 0 if one works."""
        return self._decoders.stuck_seconds

    def close(self) -> None:
        """Stop all threads."""
        for pool in (self._parser, self._explanation_thread):
            pool.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._batcher.close()

    async def _predict_one(self, image: bytes) -> Prediction:
        with self._batcher.announced():
            decoded = await self._decoders.decode(image)
            prediction = self._batcher.submit(decoded)
        return await prediction

    async def _explain_one(self, image: bytes, wanted: ExplanationRequest) -> tuple[Prediction, dict[str, Any]]:
        loop = asyncio.get_running_loop()
        beside_the_network = partial(loop.run_in_executor, self._explanation_thread)
        explainer = await beside_the_network(self.engine.explainer)
        chosen = await beside_the_network(chosen_classes, wanted, explainer.names)
        decoded = await self._decoders.decode(image)
        explanation = await self._batcher.run(partial(explanation_of, explainer, decoded, chosen))
        return explanation.prediction, await beside_the_network(document_of, explanation)

    @contextlib.asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._bounds.answer_seconds):
                yield
        except TimeoutError as error:
            raise BusyError("Timeout", f"no response within {self._bounds.answer_seconds:g} s", 5) from error
