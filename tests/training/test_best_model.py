"""The best model so far is written while a run trains, if that costs little."""

from __future__ import annotations

import logging

import pytest

from breedclf.errors import DiskError
from breedclf.training.loop import Trained
from breedclf.training.results.best_model import WRITING_SHARE, BestModelKeeper


class Disk:
    """A clock, and writes that take time on it."""

    def __init__(self, seconds: float, *, is_full: bool = False) -> None:
        self.now = 1000.0
        self.written: list[tuple[float, int]] = []
        self._seconds, self._is_full = seconds, is_full

    def write(self, trained: Trained) -> None:
        self.written.append((self.now, trained.best_epoch))
        self.now += self._seconds
        if self._is_full:
            raise DiskError("no room")


def run(disk: Disk, best: dict[int, int], *, epochs: int, seconds_per_epoch: float) -> list[int]:
    """Train epochs, of which those in `best` bring a new best; returns the epochs that were written."""
    keeper, best_epoch = BestModelKeeper(disk.write, lambda: disk.now), 0
    for epoch in range(1, epochs + 1):
        disk.now += seconds_per_epoch
        best_epoch = best.get(epoch, best_epoch)
        keeper(Trained({}, [], best_epoch))
    return [epoch for _, epoch in disk.written]


def test_a_short_run_writes_nothing() -> None:
    assert run(Disk(0.3), {1: 1}, epochs=40, seconds_per_epoch=1) == []


def test_an_early_best_is_written_once_as_soon_as_time_allows() -> None:
    disk = Disk(0.3)
    assert run(disk, {1: 1}, epochs=200, seconds_per_epoch=1) == [1]
    assert disk.written[0][0] == pytest.approx(1050, abs=1)


def test_writing_takes_a_small_share_of_the_time_even_if_every_epoch_is_the_best() -> None:
    disk = Disk(5.0)
    written = run(disk, {epoch: epoch for epoch in range(1, 2001)}, epochs=2000, seconds_per_epoch=1)
    assert len(written) > 3
    assert 5.0 * len(written) <= (disk.now - 1000) * WRITING_SHARE + 5.0


def test_a_full_disk_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert run(Disk(0.1, is_full=True), {1: 1}, epochs=100, seconds_per_epoch=1) == [1]
    assert "the best model so far can't be written: no room; training continues" in caplog.text
