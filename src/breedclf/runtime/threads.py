"""Threads that decode images while the network computes, without slowing it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from breedclf.runtime.cpu_threads import use_threads

S = TypeVar("S")
T = TypeVar("T")


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch uses one core each; more OpenMP threads would slow down those of the network."""
    return ThreadPoolExecutor(count, "decode", use_threads, (1,))


def chunks_ahead(work: Callable[[S], T], items: Iterable[S], chunk_size: int, threads: int) -> Iterator[list[T]]:
    """The results of `work` for all items, in order and in chunks; the next chunk is computed while one is in use.

    The items are taken from their iterator in the caller's thread, at most two chunks before their results are in use.
    An error of the iterator is raised after the results of the items before it. If the loop ends early, work that
    hasn't started is canceled, and the threads end.
    """
    remaining = iter(items)
    with single_core_threads(threads) as pool:
        pending: list[Future[T]] = []
        try:
            taken, error = _take(remaining, chunk_size)
            while taken:
                chunk, pending = pending, [pool.submit(work, item) for item in taken]
                if chunk:
                    yield [each.result() for each in chunk]
                taken, error = ([], error) if error else _take(remaining, chunk_size)
            if pending:
                yield [each.result() for each in pending]
        finally:
            for each in pending:
                each.cancel()
    if error:
        raise error


def _take(items: Iterator[S], count: int) -> tuple[list[S], Exception | None]:
    """Up to `count` items, and the error that ended them early."""
    taken = []
    try:
        for item in islice(items, count):
            taken.append(item)
    except Exception as error:  # noqa: BLE001 - raised after the results of what was taken
        return taken, error
    return taken, None
