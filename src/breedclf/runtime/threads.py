"""Threads that decode images while the network computes, without slowing it down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from breedclf.runtime.cpu_threads import use_threads

T = TypeVar("T")


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch uses one core each; more OpenMP threads would slow down those of the network."""
    return ThreadPoolExecutor(count, "decode", use_threads, (1,))


def chunks_ahead(work: Callable[[int], T], items: Sequence[int], chunk_size: int, threads: int) -> Iterator[list[T]]:
    """The results of `work` for all items, in order and in chunks; the next chunk is computed while one is in use.

    If the loop ends early, work that hasn't started is canceled.
    """
    with single_core_threads(threads) as pool:
        pending: list[Future[T]] = []
        try:
            for start in range(0, len(items) + chunk_size, chunk_size):
                chunk, pending = pending, [pool.submit(work, item) for item in items[start : start + chunk_size]]
                if chunk:
                    yield [each.result() for each in chunk]
        finally:
            for each in pending:
                each.cancel()
