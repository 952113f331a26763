"""Threads that decode images while the network computes, without slowing it down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch uses one core each; more OpenMP threads would slow down those of the network.

    torch's setting applies to the thread that makes it and to all threads started afterwards. So all threads are
    started here, and the setting is restored before others, such as the network's, can inherit it.
    """
    cores, started = torch.get_num_threads(), threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "decode", _use_one_core)
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(cores)
    return pool


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


def _use_one_core() -> None:
    torch.get_num_threads()  # the first call in a thread sets the process's number, so it must come first
    torch.set_num_threads(1)
