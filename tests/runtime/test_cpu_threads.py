"""A number of CPU threads that counts for one thread of the program only."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from breedclf.runtime import cpu_threads
from breedclf.runtime.cpu_threads import on_threads, use_threads


def of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def sum_of_squares() -> torch.Tensor:
    """A result whose last digits depend on the number of threads."""
    numbers = torch.randn(3_000_001, generator=torch.Generator().manual_seed(0))
    return (numbers * numbers).sum() + (numbers.view(-1, 1)[:3000].T @ numbers.view(-1, 1)[:3000]).sum()


@pytest.fixture(params=["by the libraries", "by torch"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by torch":
        monkeypatch.setattr(cpu_threads, "_openmp", None)
    elif cpu_threads._openmp is None:
        pytest.skip("torch's library can't be called here")


def test_a_number_is_set_and_restored() -> None:
    before = torch.get_num_threads()
    with on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with on_threads(None):
            assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_it_is_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt), on_threads(before + 1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before


def test_threads_started_meanwhile_and_afterwards_have_their_own() -> None:
    before = torch.get_num_threads()
    with on_threads(before + 2):
        assert of_a_new_thread() == before
    assert of_a_new_thread() == before


def test_results_are_those_of_torchs_own_setting() -> None:
    before = torch.get_num_threads()
    expected = {}
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            expected[count] = sum_of_squares()
    finally:
        torch.set_num_threads(before)
    for count, value in expected.items():
        with on_threads(count):
            assert torch.equal(sum_of_squares(), value)


def test_many_threads_at_once() -> None:
    before = torch.get_num_threads()
    counts: list[int] = []

    def work(number: int) -> None:
        for count in (1, 3, 1 + number):
            restore = use_threads(count)
            counts.append(torch.get_num_threads() - count)
            restore()
        counts.append(torch.get_num_threads() - before)

    for _ in range(20):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(counts) == {0}
    assert of_a_new_thread() == before
