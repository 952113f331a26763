"""Processes that work together learn of each other's progress and errors, and wait without a limit of time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]  # documented, but not in __all__

from breedclf.errors import ImageError, TrainingError, TrainingStoppedError
from breedclf.training.together import StoreTogether, working_together
from tests.fakes import FakeClock

Work = Callable[[StoreTogether], None]


def outcomes(*works: Work) -> list[object]:
    """What came of the work of each process, which is a thread here: None or its error."""
    store = HashStore()

    def run(rank: int) -> object:
        try:
            with working_together(store, rank, len(works)) as together:
                works[rank](together)
        except BaseException as error:  # noqa: BLE001 - an interruption, too
            return error
        return None

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, range(len(works))))


def fails(error: BaseException) -> Work:
    def work(_: StoreTogether) -> None:
        raise error

    return work


def advances_until_it_fails(together: StoreTogether) -> None:
    while True:
        together.advance(0)


def test_progress_is_that_of_all_and_meetings_wait_for_the_last() -> None:
    seen: list[tuple[str, int]] = []

    def slow(together: StoreTogether) -> None:
        for _ in range(20):
            together.advance(2)
        seen.append(("slow", 0))
        together.meet()

    def quick(together: StoreTogether) -> None:
        together.meet()
        seen.append(("quick", together.advance(1)))

    assert outcomes(slow, quick) == [None, None]
    assert seen == [("slow", 0), ("quick", 41)]


@pytest.mark.parametrize("waits", [True, False], ids=["in-a-meeting", "between-images"])
@pytest.mark.parametrize(
    "error", [ImageError("a.jpg is damaged"), TrainingStoppedError("stopped")], ids=["image", "stop"]
)
def test_an_error_of_one_process_is_raised_in_all(error: Exception, waits: bool) -> None:
    other = StoreTogether.meet if waits else advances_until_it_fails
    for raised in outcomes(fails(error), other, other):
        assert type(raised) is type(error)
        assert str(raised) == str(error)


def test_of_two_errors_the_first_one_is_raised_in_both() -> None:
    first, second = outcomes(fails(ImageError("a.jpg")), fails(ImageError("b.jpg")))
    assert str(first) == str(second)


def test_an_interruption_interrupts_all_and_other_errors_say_where_they_came_from() -> None:
    own, others = outcomes(fails(KeyboardInterrupt()), StoreTogether.meet)
    assert isinstance(own, KeyboardInterrupt)
    assert isinstance(others, KeyboardInterrupt)
    assert str(others) == "process 0 was interrupted"
    own, others = outcomes(StoreTogether.meet, fails(ValueError("no")))[::-1]
    assert isinstance(own, ValueError)
    assert isinstance(others, TrainingError)
    assert str(others) == "process 1 failed: ValueError: no"


def test_a_process_without_signs_of_life_is_named() -> None:
    store, clock = HashStore(), FakeClock()
    slow = StoreTogether(store, 1, 3)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        slow.beat()

    with pytest.raises(TrainingError, match="process 2 has given no sign of life for 5 minutes"):
        StoreTogether(store, 0, 3, clock=clock, sleep=sleep).meet()
    assert clock.now > 1_000_300
