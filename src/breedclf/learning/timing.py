"""Where a training says how far it is, so that the parts of each step can be timed; by default nobody listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

    def step(self, pictures: int) -> None:
        """A step ends; it handled so many pictures."""

    def losses(self, values: Sequence[float]) -> None:
        """The losses of the last phase's steps, in their order."""

    def loading(self, pictures: int, read: float, decode: float, transform: float) -> None:
        """Seconds that so many pictures took to read, decode and transform, in whichever process."""

    def loader(self, workers: int, batch_size: int, pin_memory: bool) -> None:
        """How pictures are loaded from now on."""

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """A network runs in this training; with an optimizer, it is trained."""


NO_TIMER = StepTimer()
