"""Rates of work on a device, which is waited for before the clock is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from breedclf.runtime.timers import StepTimer

T = TypeVar("T")
_WARM_UP = 3
_SHORT = 0.1
_MOST_RUNS = 5_000


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of one call, to its end on the device."""
    finish(device)
    started = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - started


def mean_seconds(work: Callable[[], object], device: torch.device, *, seconds: float) -> float:
    """Mean wall seconds of calls without a pause, for about this long, after a warm-up."""
    for _ in range(_WARM_UP if seconds > _SHORT else 1):
        one = seconds_of(work, device)
    runs = max(1, min(_MOST_RUNS, int(seconds / max(one, 1e-6))))

    def repeated() -> None:
        for _ in range(runs):
            work()

    return seconds_of(repeated, device) / runs


def halved_until_it_fits(work: Callable[[int], T], batch: int) -> tuple[int, T]:
    """The batch that fits into the memory of the device, and what `work` returns for it.

    Raises:
        torch.OutOfMemoryError: not even one image fits.
    """
    while True:
        try:
            return batch, work(batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2
        torch.cuda.empty_cache()


@dataclass
class Phase:
    """One phase of a run: images, seconds to the end of the last step, and of these spent waiting for images."""

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def summary(self) -> dict[str, float]:
        return {
            "images_per_second": self.images / max(self.seconds, 1e-9),
            "share_of_time_the_loop_waits_for_images": self.waited / max(self.seconds, 1e-9),
        }


@dataclass
class WaitTimer(StepTimer):
    """Adds up how long a run waits for images; also a hook of `Trainer.fit`."""

    phases: dict[tuple[str, int], Phase] = field(default_factory=dict)
    _phase: Phase = field(default_factory=Phase)
    _started: float = 0.0
    _last: float = 0.0

    @property
    def timer(self) -> StepTimer:
        return self

    def phase(self, name: str, epoch: int = 0) -> None:
        self._phase = self.phases[name, epoch] = Phase()
        self._started = self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        if part == "data_wait":
            self._phase.waited += now - self._last
        self._last = now

    def step(self, images: int) -> None:
        self._last = time.perf_counter()
        self._phase.images += images
        self._phase.seconds = self._last - self._started


@contextmanager
def float32(precision: str) -> Iterator[None]:
    """Let CUDA multiply float32 exactly (`ieee`) or with fewer bits (`tf32`) within the block."""
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = precision
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
