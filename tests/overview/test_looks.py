"""How often a backend is asked: caches, a service's budget, failures, slow answers, and what is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from breedclf.errors import JobError
from breedclf.overview.looks import LOCAL_PACE, SERVICE_PACE, Look, Looks, Pace, seen_looks


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1000.0

    def time(self) -> float:
        return self.now + 1_800_000_000

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


@dataclass
class Service:
    """Answers with the number of the question, by key; `fails` is raised instead."""

    asked: list[str] = field(default_factory=list)
    fails: Exception | None = None

    def ask(self, key: str) -> Callable[[], int]:
        def ask() -> int:
            self.asked.append(key)
            if self.fails is not None:
                raise self.fails
            return len(self.asked)

        return ask


def settled(looks: Looks, key: str, service: Service) -> Look[int]:
    """Look twice, with the answer of the first look in between: later answers come aside."""
    looks.look(key, service.ask(key))
    for thread in threading.enumerate():
        if thread.daemon and "_answer_aside" in thread.name:
            thread.join(10)
    return looks.look(key, service.ask(key))


def test_a_result_is_reused_until_it_is_old() -> None:
    clock, service = Clock(), Service()
    looks = Looks(LOCAL_PACE, clock=clock)
    assert [looks.look("a", service.ask("a")).value for _ in range(3)] == [1, 1, 1]
    clock.now += 0.5
    assert looks.look("a", service.ask("a")).value == 2
    looks.forget()
    assert looks.look("a", service.ask("a")).value == 3


def test_an_equal_stamp_means_an_equal_result_for_five_seconds() -> None:
    clock, service = Clock(), Service()
    looks, stamps = Looks(LOCAL_PACE, clock=clock), [1, 1, 2]
    for stamp in stamps:
        looks.look("a", service.ask("a"), lambda stamp=stamp: stamp)  # type: ignore[misc]
        clock.now += 1
    assert len(service.asked) == 2
    clock.now += 5
    looks.look("a", service.ask("a"), lambda: 2)
    assert len(service.asked) == 3


def test_a_service_is_asked_four_times_a_minute_however_many_pages_are_open() -> None:
    clock, service = Clock(), Service()
    looks, times = Looks(SERVICE_PACE, clock=clock), []
    for _ in range(3000):
        before = len(service.asked)
        for key in "abcdefgh":
            settled(looks, key, service)
        times += [clock.now] * (len(service.asked) - before)
        clock.now += 0.4
    assert all(sum(start <= time < start + 60 for time in times) <= 4 for start in times)
    assert len(times) >= 2 * (clock.now - 1000) / 60 - 4  # looking again has half of it
    again = service.asked[16:]
    assert {key: abs(again.count(key) - len(again) / 8) <= 1 for key in "abcdefgh"} == dict.fromkeys("abcdefgh", True)


def test_a_page_that_is_opened_first_is_asked_at_once_beside_open_ones() -> None:
    clock, service = Clock(), Service()
    looks = Looks(SERVICE_PACE, clock=clock)
    for _ in range(1000):
        settled(looks, "a", service)
        clock.now += 0.4
    for key in "bc":
        assert looks.look(key, service.ask(key)).value is not None
    looks.look("d", service.ask("d"))
    last = looks.look("e", service.ask("e"))
    assert (last.value, last.is_waiting) == (None, True)
    assert last.due is not None
    assert 0 < last.due - clock.time() <= 60
    clock.now += last.due - clock.time()
    assert looks.look("e", service.ask("e")).value is not None


def test_failures_are_shown_beside_what_was_known_and_asked_for_ever_later() -> None:
    clock, service = Clock(), Service()
    looks = Looks(SERVICE_PACE, clock=clock)
    assert settled(looks, "a", service).value == 1
    service.fails = JobError("ExpiredToken: sign in again")
    for _ in range(3000):
        settled(looks, "a", service)
        clock.now += 0.4
    look = settled(looks, "a", service)
    assert (look.value, look.problem) == (1, "ExpiredToken: sign in again")
    assert 1200 / 120 <= len(service.asked) <= 1200 / 120 + 5
    service.fails = None
    clock.now += 121
    assert settled(looks, "a", service).problem == ""


def test_an_answer_that_takes_long_is_awaited_for_a_moment_and_seen_when_it_comes() -> None:
    answer = threading.Event()
    looks = Looks(Pace(15.0, 4, 120.0, patience_seconds=0.01))

    def slow() -> int:
        assert answer.wait(30)
        return 1

    with seen_looks() as seen:
        assert looks.look("a", slow).is_waiting
    assert seen.is_waiting
    assert seen.is_current()
    answer.set()
    for thread in threading.enumerate():
        if "_answer_aside" in thread.name:
            thread.join(10)
    assert not seen.is_current()
    assert looks.look("a", slow).value == 1


def test_what_nobody_wants_any_more_is_dropped() -> None:
    clock, service = Clock(), Service()
    looks = Looks(LOCAL_PACE, clock=clock)
    for number in range(1000):
        looks.look(f"job-{number}", service.ask("job"))
        clock.now += 1
    assert len(looks._entries) <= 64


@pytest.mark.parametrize("error", [JobError("no"), PermissionError("no")], ids=["breedclf", "files"])
def test_a_page_was_made_of_the_versions_of_its_looks(error: Exception) -> None:
    clock, service = Clock(), Service()
    looks = Looks(LOCAL_PACE, clock=clock)
    with seen_looks() as seen:
        looks.look("a", lambda: "equal")
        assert seen.is_current()
        clock.now += 1
        assert seen.is_current()
    service.fails = error
    clock.now += 1
    looks.look("a", service.ask("a"))
    assert not seen.is_current()
    with seen_looks() as nothing:
        pass
    assert not nothing.is_current()
