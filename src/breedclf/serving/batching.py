"""Micro-batching: pictures that wait at the same time go through the network together, none waits long for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

log: logging.Logger = logging.getLogger(__name__)

Input = TypeVar("Input")
Output = TypeVar("Output")


class Batcher(Generic[Input, Output]):
    """Runs `forward` in one thread of its own, over up to `max_batch` inputs at a time.

    A batch starts as soon as the thread is free and something waits. It holds on only for inputs that are announced
    (being decoded), and after a batch of several for as many again, since whoever was answered together asks again
    together; at most `max_delay_seconds` from when it could have begun. A single client never waits.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[Input]], list[Output]],
        *,
        max_batch: int = 16,
        max_delay_seconds: float = 0.025,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._forward = forward
        self._max_batch = max_batch
        self._max_delay = max_delay_seconds
        self._clock = clock
        self._waiting: deque[tuple[Input, Future[Output]]] = deque()
        self._announced = 0
        self._last_size = 1
        self._changed = threading.Condition()
        self._closed = False
        self.last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def announced(self) -> Iterator[None]:
        """While it lasts, one more input is on its way; a waiting batch may hold on for it."""
        self._announce(+1)
        try:
            yield
        finally:
            self._announce(-1)

    def submit(self, item: Input, *, first: bool = False) -> asyncio.Future[Output]:
        """The output to come for one input, for the running event loop; `first` goes before all that wait."""
        future: Future[Output] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            entry = (item, future)
            self._waiting.appendleft(entry) if first else self._waiting.append(entry)
            self._changed.notify()
        return asyncio.wrap_future(future)

    def close(self, *, timeout: float = 5.0) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _announce(self, change: int) -> None:
        with self._changed:
            self._announced += change
            self._changed.notify()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            running = [(item, future) for item, future in batch if future.set_running_or_notify_cancel()]
            if running:
                self._answer(running)

    def _answer(self, running: list[tuple[Input, Future[Output]]]) -> None:
        try:
            outputs = self._forward([item for item, _ in running])
        except Exception as error:
            log.exception("the network failed on a batch of %d", len(running))
            for _, future in running:
                future.set_exception(error)
            return
        self.last_success = self._clock()
        for (_, future), output in zip(running, outputs, strict=True):
            future.set_result(output)

    def _next_batch(self) -> list[tuple[Input, Future[Output]]] | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            until = self._clock() + self._max_delay
            while len(self._waiting) < self._expected() and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            self._last_size = len(batch)
            return batch

    def _expected(self) -> int:
        return min(self._max_batch, max(self._last_size, len(self._waiting) + self._announced))
