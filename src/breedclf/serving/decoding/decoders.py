"""Who decodes an image: a thread, or, where it takes long, a process that can be ended; and whether one is stuck."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from breedclf.runtime.threads import single_core_threads
from breedclf.serving.core import BusyError, RequestError
from breedclf.serving.decoding.decoder_process import DecoderProcess
from breedclf.serving.decoding.inputs import work_of
from breedclf.serving.engines.engine import Engine

log: logging.Logger = logging.getLogger(__name__)

LONG_WORK = 128_000_000
"""Pixel visits from which an image goes to the process: a tenth of a second to half a second of a core."""

_MAX_LONG_WAITING = 4


class Decoders:
    """Threads for most images, a process for those that take long.

    Args:
        engine: whose inputs are made.
        threads: how many images are decoded at a time.
        seconds: how long one may take.
        clock: seconds that only grow.
    """

    def __init__(
        self, engine: Engine, threads: int, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._threads = single_core_threads(threads)
        self._count = threads
        self._seconds = seconds
        self._clock = clock
        self._running: dict[object, float] = {}
        self._process = DecoderProcess(engine.card.preprocessing, engine.limits, seconds=seconds)
        self._for_process = ThreadPoolExecutor(1, "decode-long")
        self._long_waiting = 0

    async def decode(self, picture: bytes) -> torch.Tensor:
        """The network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: it can't be decoded, or not in time.
            BusyError: too many that take long are waiting.
        """
        if work_of(picture, self._engine.limits) > LONG_WORK:
            return await self._in_process(picture)
        return await self._in_thread(picture)

    @property
    def stuck_seconds(self) -> float:
        """For how long every thread has been at an image that should be done; 0 while one is free."""
        began = list(self._running.values())
        if len(began) < self._count:
            return 0.0
        return max(0.0, self._clock() - max(began) - self._seconds)

    def close(self) -> None:
        """End the process, and the threads as soon as they are done."""
        self._process.end(for_good=True)
        for pool in (self._threads, self._for_process):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _in_process(self, picture: bytes) -> torch.Tensor:
        if self._long_waiting >= _MAX_LONG_WAITING:
            message = f"{self._long_waiting} pictures that take long to decode are waiting; try again in a moment"
            raise BusyError("Overloaded", message, 5)
        self._long_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._for_process, self._process.decode, picture)
        finally:
            self._long_waiting -= 1

    async def _in_thread(self, picture: bytes) -> torch.Tensor:
        job = object()

        def run() -> torch.Tensor:
            self._running[job] = self._clock()
            try:
                return self._engine.decode(picture)
            finally:
                del self._running[job]

        future = asyncio.get_running_loop().run_in_executor(self._threads, run)
        try:
            while not (await asyncio.wait([future], timeout=self._seconds))[0]:
                if self._clock() - self._running.get(job, self._clock()) >= self._seconds:
                    log.error("an image isn't decoded after %g s, and its thread can't be ended", self._seconds)
                    raise RequestError(422, "TooCostly", f"the picture wasn't decoded within {self._seconds:g} s")
            return future.result()
        finally:
            future.cancel()  # one that hasn't begun needn't
