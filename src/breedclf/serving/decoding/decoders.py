"""Chooses where to decode an image: in a thread or, if it takes long, in a process that can be killed."""

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
"""Work, in pixel visits, from which an image is decoded in the process: 0.1 to 0.5 s of a core."""

_MAX_LONG_WAITING = 4


class Decoders:
    """Decodes images in threads, and those that take long in a process.

    Args:
        engine: the engine that decodes.
        threads: number of threads.
        seconds: time limit per image.
        clock: returns monotonic seconds.
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

    async def decode(self, image: bytes) -> torch.Tensor:
        """Decode an image to the network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: it can't be decoded, or not in time.
            BusyError: too many slow images are waiting.
        """
        if work_of(image, self._engine.limits) > LONG_WORK:
            return await self._in_process(image)
        return await self._in_thread(image)

    @property
    def stuck_seconds(self) -> float:
        """Seconds since which all threads have exceeded their time limit; 0 if one is free."""
        started = list(self._running.values())
        if len(started) < self._count:
            return 0.0
        return max(0.0, self._clock() - max(started) - self._seconds)

    def close(self) -> None:
        """Kill the process, and stop the threads when they are done."""
        self._process.end(for_good=True)
        for pool in (self._threads, self._for_process):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _in_process(self, image: bytes) -> torch.Tensor:
        if self._long_waiting >= _MAX_LONG_WAITING:
            message = f"{self._long_waiting} slow images are waiting to be decoded; try again in a moment"
            raise BusyError("Overloaded", message, 5)
        self._long_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._for_process, self._process.decode, image)
        finally:
            self._long_waiting -= 1

    async def _in_thread(self, image: bytes) -> torch.Tensor:
        job = object()

        def run() -> torch.Tensor:
            self._running[job] = self._clock()
            try:
                return self._engine.decode(image)
            finally:
                del self._running[job]

        future = asyncio.get_running_loop().run_in_executor(self._threads, run)
        try:
            while not (await asyncio.wait([future], timeout=self._seconds))[0]:
                if self._clock() - self._running.get(job, self._clock()) >= self._seconds:
                    log.error("an image isn't decoded after %g s, and its thread can't be stopped", self._seconds)
                    raise RequestError(422, "TooCostly", f"the image wasn't decoded within {self._seconds:g} s")
            return future.result()
        finally:
            future.cancel()  # if it hasn't started yet
