"""Micro-batching: images of concurrent requests are processed as one batch, with a bounded delay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

log: logging.Logger = logging.getLogger(__name__)

Input = TypeVar("Input")
Output = TypeVar("Output")
Result = TypeVar("Result")


class Batcher(Generic[Input, Output]):
    """Runs `forward` in a separate thread, over up to `max_batch` inputs at a time.

    A batch starts as soon as the thread is free and there is input. It only waits for announced inputs (which are being
    decoded) and, after a batch of several, for as many again, since clients that are answered together tend to send
    again together; at most `max_delay_seconds`. A single client never waits.
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
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._announced = 0
        self._last_size = 1
        self._changed = threading.Condition()
        self._closed = False
        self.last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def announced(self) -> Iterator[None]:
        """Announce that one more input will follow, so that a pending batch may wait for it."""
        self._announce(+1)
        try:
            yield
        finally:
            self._announce(-1)

    def submit(self, item: Input, *, first: bool = False) -> asyncio.Future[Output]:
        """Queue one input and return a future of its output for the running event loop; `first` skips the queue."""
        future: Future[Output] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            entry = (item, future)
            self._waiting.appendleft(entry) if first else self._waiting.append(entry)
            self._changed.notify()
        return asyncio.wrap_future(future)

    def run(self, task: Callable[[], Result]) -> asyncio.Future[Result]:
        """Queue something else to do in the thread, for which inputs wait at most once: one task follows each batch."""
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._tasks.append((task, future))
            self._changed.notify()
        return asyncio.wrap_future(future)

    def close(self, *, timeout: float = 5.0) -> None:
        """Process all queued inputs and tasks, and stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _announce(self, change: int) -> None:
        with self._changed:
            self._announced += change
            self._changed.notify()

    def _run(self) -> None:
        while (turn := self._next_turn()) is not None:
            batch, task = turn
            running = [(item, future) for item, future in batch if future.set_running_or_notify_cancel()]
            if running:
                self._answer(running)
            if task is not None and task[1].set_running_or_notify_cancel():
                _do(*task)

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

    def _next_turn(
        self,
    ) -> tuple[list[tuple[Input, Future[Output]]], tuple[Callable[[], Any], Future[Any]] | None] | None:
        with self._changed:
            while not (self._waiting or self._tasks):
                if self._closed:
                    return None
                self._changed.wait()
            batch = self._next_batch() if self._waiting else []
            return batch, self._tasks.popleft() if self._tasks else None

    def _next_batch(self) -> list[tuple[Input, Future[Output]]]:
        until = self._clock() + self._max_delay
        while len(self._waiting) < self._expected() and (left := until - self._clock()) > 0:
            self._changed.wait(left)
        batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
        self._last_size = len(batch)
        return batch

    def _expected(self) -> int:
        return min(self._max_batch, max(self._last_size, len(self._waiting) + self._announced))


def _do(task: Callable[[], Any], future: Future[Any]) -> None:
    try:
        future.set_result(task())
    except Exception as error:  # noqa: BLE001 - the caller's
        future.set_exception(error)
