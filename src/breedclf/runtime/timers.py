"""Timers that the training loop reports its progress to; the default timer ignores it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer


class StepTimer:
    """Base class of timers, whose methods do nothing.

    A phase is a sequence of steps of one kind (`features`, `train`, `valid`). A step consists of laps; each lap names
    the part of the step that ended: `data_wait`, `to_device`, `forward`, `backward`, `optimizer`.
    """

    def phase(self, name: str, epoch: int = 0) -> None:
        """Start a phase."""

    def lap(self, part: str) -> None:
        """End a part of a step: it took the time since the last lap, step or phase."""

    def step(self, images: int) -> None:
        """End a step that processed this number of images."""

    def loss(self, value: torch.Tensor) -> None:
        """Record the loss of the current step; it is still on the device, since reading it would make the GPU wait."""

    def losses(self, values: Sequence[float]) -> None:
        """Record the losses of all steps of the last phase, in order."""

    def loading(self, images: int, read: float, decode: float, transform: float) -> None:
        """Record the seconds that reading, decoding and transforming these images took, in any process."""

    def loader(self, workers: int, batch_size: int, pin_memory: bool) -> None:
        """Record how images are loaded from now on."""

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Watch a network; with an optimizer, it is the one that is trained."""


NO_TIMER = StepTimer()


class _Several(StepTimer):
    """Forwards every call to several timers."""

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
    """One timer that forwards to all given timers, of which there may be none.

    Example:
        >>> all_of([]) is NO_TIMER
        True
    """
    if len(timers) < 2:
        return timers[0] if timers else NO_TIMER
    return _Several(timers)
