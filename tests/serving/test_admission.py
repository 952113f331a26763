"""Which images a server accepts, and when refused clients may come again, by a clock of the test's own."""

from __future__ import annotations

import pytest

from breedclf.serving.admission import MAX_RETRY_SECONDS, Admission
from breedclf.serving.core import BusyError

MOST = 32


class Server:
    """Answers batches of 16 out of a full queue, at a given rate, while others ask in vain."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending = 0
        self.admission = Admission(MOST, clock=lambda: self.now)

    def admit(self, images: int) -> None:
        self.admission.admit(images)
        self.pending += images

    def release(self, images: int) -> None:
        self.admission.release(images)
        self.pending -= images

    def most_admitted(self) -> int:
        """Once all but one are done, admit images until one is refused, and return how many are pending."""
        self.release(self.pending - 1)
        while self.refusal() is None:
            self.admit(1)
        return self.pending

    def refusal(self) -> BusyError | None:
        try:
            self.admission.require_capacity()
        except BusyError as error:
            return error
        return None

    def answer(self, batches: int, *, seconds_each: float, refused: int = 0) -> None:
        """Answer batches whose clients ask again, while others are refused."""
        for _ in range(batches):
            self.now += 16 * seconds_each
            self.admission.answered(16)
            self.release(16)
            self.admit(self.admission.limit - self.pending)
            assert all(self.refusal() is not None for _ in range(refused))


def full_server(*, seconds_each: float = 0.05) -> Server:
    server = Server()
    server.admit(MOST)
    server.answer(20, seconds_each=seconds_each)
    return server


def test_a_full_queue_is_admitted_whatever_the_rate() -> None:
    for seconds_each in (0.001, 0.05, 2.0):
        server = full_server(seconds_each=seconds_each)
        assert server.admission.limit == MOST
        assert server.most_admitted() == MOST


def test_while_refusals_slow_the_server_down_no_more_are_admitted_than_are_answered_in_the_usual_wait() -> None:
    server = full_server(seconds_each=0.050)
    server.answer(20, seconds_each=0.054, refused=1)
    assert server.most_admitted() == 29  # 29 * 0.054 s is below 32 * 0.050 s, and 30 is above


def test_at_least_as_many_are_admitted_as_keep_the_network_busy() -> None:
    server = full_server(seconds_each=0.05)
    server.answer(20, seconds_each=0.5, refused=1)
    assert server.most_admitted() == 28


def test_all_are_admitted_again_once_nobody_is_refused() -> None:
    server = full_server(seconds_each=0.05)
    server.answer(4, seconds_each=0.5, refused=1)
    assert server.admission.limit == 28
    server.answer(4, seconds_each=0.5)
    assert server.most_admitted() == MOST


@pytest.mark.parametrize(
    ("seconds_each", "seconds"), [(0.01, 1), (0.1, 4), (10.0, MAX_RETRY_SECONDS)], ids=["quick", "slow", "stuck"]
)
def test_the_refused_may_come_again_when_what_is_pending_is_answered(seconds_each: float, seconds: int) -> None:
    refusal = full_server(seconds_each=seconds_each).refusal()
    assert refusal is not None
    assert refusal.retry_after == seconds


def test_the_more_are_refused_the_later_they_may_come_again() -> None:
    server = full_server(seconds_each=0.05)
    server.answer(4, seconds_each=0.05, refused=16)
    assert server.admission.retry_seconds == 7  # 32 * 0.05 s, doubled twice
    server.answer(40, seconds_each=0.05, refused=16)
    assert server.admission.retry_seconds == MAX_RETRY_SECONDS
    server.answer(40, seconds_each=0.05, refused=1)
    assert server.admission.retry_seconds == 2


def test_a_server_of_one_image_at_a_time_goes_on() -> None:
    admission = Admission(1, clock=lambda: 0.0)
    for _ in range(3):
        admission.admit(1)
        with pytest.raises(BusyError):
            admission.admit(1)
        admission.answered(1)
        admission.release(1)
