"""What goes through the network together, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from breedclf.serving.batching import Batcher

LONG = 5.0


class Network:
    """Answers with what it was asked, one batch for each permission, and notes the sizes."""

    def __init__(self, permits: int) -> None:
        self.sizes: list[int] = []
        self._permits = threading.Semaphore(permits)

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        self._permits.acquire()
        return list(items)

    def allow(self, count: int = 1) -> None:
        self._permits.release(count)


def test_a_single_client_never_waits() -> None:
    network = Network(100)
    batcher: Batcher[int, int] = Batcher(network, max_delay_seconds=LONG)

    async def ask() -> list[int]:
        return [await asyncio.wait_for(batcher.submit(number), LONG / 2) for number in range(5)]

    assert asyncio.run(ask()) == [0, 1, 2, 3, 4]
    assert network.sizes == [1, 1, 1, 1, 1]
    batcher.close()


def test_who_was_answered_together_goes_together_again() -> None:
    network = Network(0)
    batcher: Batcher[int, int] = Batcher(network, max_delay_seconds=LONG)

    async def ask_twice() -> None:
        first = batcher.submit(0)
        while not network.sizes:
            await asyncio.sleep(0.001)
        rest = [batcher.submit(number) for number in range(7)]
        network.allow(3)
        await asyncio.gather(first, *rest)
        again = []
        for number in range(7):
            again.append(batcher.submit(number))
            await asyncio.sleep(0.005)
        await asyncio.gather(*again)

    asyncio.run(ask_twice())
    assert network.sizes == [1, 7, 7]
    batcher.close()


def test_a_batch_waits_for_announced_inputs_and_no_longer_than_allowed() -> None:
    network = Network(100)
    batcher: Batcher[int, int] = Batcher(network, max_delay_seconds=0.2)

    async def ask() -> None:
        with batcher.announced():
            first = batcher.submit(0)
            await asyncio.sleep(0.02)
            second = batcher.submit(1)
        await asyncio.gather(first, second)
        with batcher.announced():
            await asyncio.wait_for(batcher.submit(2), LONG)

    asyncio.run(ask())
    assert network.sizes == [2, 1]
    batcher.close()


def test_a_batch_is_never_larger_than_allowed_and_keeps_the_order() -> None:
    network = Network(0)
    batcher: Batcher[int, int] = Batcher(network, max_batch=4, max_delay_seconds=0.01)

    async def ask() -> list[int]:
        waiting = [batcher.submit(number) for number in range(11)]
        network.allow(11)
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(ask()) == list(range(11))
    assert max(network.sizes) <= 4
    batcher.close()


def test_a_failing_network_fails_its_batch_and_goes_on() -> None:
    def network(items: Sequence[int]) -> list[int]:
        if -1 in items:
            raise ValueError("the network broke")
        return list(items)

    batcher: Batcher[int, int] = Batcher(network)

    async def ask() -> int:
        with pytest.raises(ValueError, match="the network broke"):
            await batcher.submit(-1)
        assert batcher.last_success is None
        return await batcher.submit(7)

    assert asyncio.run(ask()) == 7
    assert batcher.last_success is not None
    batcher.close()


def test_a_task_follows_each_batch() -> None:
    network, done = Network(0), list[str]()
    batcher: Batcher[int, int] = Batcher(network, max_batch=2, max_delay_seconds=0.0)

    def predict(items: Sequence[int]) -> list[int]:
        done.append("batch")
        return network(items)

    batcher._forward = predict

    async def ask() -> None:
        first = batcher.submit(0)
        while not network.sizes:
            await asyncio.sleep(0.001)
        rest = [batcher.submit(number) for number in range(4)]
        tasks = [batcher.run(lambda: done.append("task")) for _ in range(4)]
        network.allow(3)
        await asyncio.gather(first, *rest, *tasks)

    asyncio.run(ask())
    batcher.close()
    assert done == ["batch", "batch", "task", "batch", "task", "task", "task"]  # there was none after the first


def test_a_task_that_fails_fails_alone() -> None:
    network = Network(100)
    batcher: Batcher[int, int] = Batcher(network)

    async def ask() -> int:
        with pytest.raises(ZeroDivisionError):
            await batcher.run(lambda: 1 // 0)
        return await batcher.submit(5)

    assert asyncio.run(ask()) == 5
    batcher.close()
