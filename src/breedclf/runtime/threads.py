"""Threads that decode images beside the network, without taking its cores' attention."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """Threads in which torch keeps to one core each: a second team of threads makes those of the network wait asleep.

    torch's setting holds for the thread that makes it, and for every thread that begins after it. So all begin here,
    and the setting is put back before others, like the network's, can inherit it.
    """
    cores, begun = torch.get_num_threads(), threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "decode", _keep_to_one_core)
    for _ in range(count):
        pool.submit(begun.wait)
    begun.wait()
    torch.set_num_threads(cores)
    return pool


def chunks_ahead(work: Callable[[int], T], items: Sequence[int], chunk_size: int, threads: int) -> Iterator[list[T]]:
    """What `work` makes of the items, in order and a chunk at a time, the next one while a chunk is in use.

    A loop that ends early waits for nothing that wasn't begun.
    """
    with single_core_threads(threads) as pool:
        coming: list[Future[T]] = []
        try:
            for start in range(0, len(items) + chunk_size, chunk_size):
                chunk, coming = coming, [pool.submit(work, item) for item in items[start : start + chunk_size]]
                if chunk:
                    yield [each.result() for each in chunk]
        finally:
            for each in coming:
                each.cancel()


def _keep_to_one_core() -> None:
    torch.get_num_threads()  # the first question in a thread sets it to the process's number, so it is asked before
    torch.set_num_threads(1)
