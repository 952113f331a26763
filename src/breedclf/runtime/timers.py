"""Where a training says how far it is, so that the parts of each step can be timed; by default nobody listens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer


class StepTimer:
    """Base of timers: every method does nothing, so that an unwatched training pays only for the calls.

    A phase is a run of steps of one kind (`features`, `train`, `valid`); a step is made of laps, and each lap names the
    part that the time since the one before went into: `data_wait`, `to_device`, `forward`, `backward`, `optimizer`.
    """

    def phase(self, name: str, epoch: int = 0) -> None:
        """Steps of this kind begin."""

    def lap(self, part: str) -> None:
        """The time since the last lap, step or phase went into this part."""

    def step(self, images: int) -> None:
        """A step ends; it handled so many images."""

    def loss(self, value: torch.Tensor) -> None:
        """The loss of the step that runs, still on the device: reading it would make a GPU wait."""

    def losses(self, values: Sequence[float]) -> None:
        """The losses of the last phase's steps, in their order."""

    def loading(self, images: int, read: float, decode: float, transform: float) -> None:
        """Seconds that so many images took to read, decode and transform, in whichever process."""

    def loader(self, workers: int, batch_size: int, pin_memory: bool) -> None:
        """How images are loaded from now on."""

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """A network runs in this training; with an optimizer, it is trained."""


NO_TIMER = StepTimer()


class _Several(StepTimer):
    """Timers that all hear the same, each in its turn."""

    def __init__(self, timers: Sequence[StepTimer]) -> None:
        self.timers = tuple(timers)

    def phase(self, name: str, epoch: int = 0) -> None:
        for timer in self.timers:
            timer.phase(name, epoch)

    def lap(self, part: str) -> None:
        for timer in self.timers:
            timer.lap(part)

    def step(self, images: int) -> None:
        for timer in self.timers:
            timer.step(images)

    def loss(self, value: torch.Tensor) -> None:
        for timer in self.timers:
            timer.loss(value)

    def losses(self, values: Sequence[float]) -> None:
        for timer in self.timers:
            timer.losses(values)

    def loading(self, images: int, read: float, decode: float, transform: float) -> None:
        for timer in self.timers:
            timer.loading(images, read, decode, transform)

    def loader(self, workers: int, batch_size: int, pin_memory: bool) -> None:
        for timer in self.timers:
            timer.loader(workers, batch_size, pin_memory)

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        for timer in self.timers:
            timer.watch(module, optimizer)


def all_of(timers: Sequence[StepTimer]) -> StepTimer:
    """One timer that stands for all of these, whose number may be 0 or 1.

    Example:
        >>> all_of([]) is NO_TIMER
        True
    """
    if len(timers) < 2:
        return timers[0] if timers else NO_TIMER
    return _Several(timers)
