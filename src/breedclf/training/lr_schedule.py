"""The learning rate over a run, as a pure function of the step: resuming needs no state of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from breedclf.config import TrainingConfig

ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1e-4
_WARMUP_SHARE = 0.1

ScheduleKind = Literal["constant", "cosine", "one_cycle"]


@dataclass(frozen=True)
class LearningRateSchedule:
    """What each learning rate is multiplied by at each step.

    `warmup_epochs` may be a fraction. A cosine falls from 1 after the warm-up to 0 after the last step; one cycle rises
    from 1/25 to 1 and falls to 1e-4, both along half a cosine. The warm-up of the other two is linear, and its first
    step isn't zero.
    """

    kind: ScheduleKind
    epochs: int
    warmup_epochs: float = 0.0

    @classmethod
    def of(cls, config: TrainingConfig) -> LearningRateSchedule:
        """The schedule of a run: `auto` is constant for a head alone, else cosine.

        Example:
            >>> LearningRateSchedule.of(TrainingConfig(data="x", freeze="layer4", epochs=5))
            LearningRateSchedule(kind='cosine', epochs=5, warmup_epochs=0.5)
        """
        auto: ScheduleKind = "constant" if config.freeze == "head" else "cosine"
        kind = auto if config.schedule == "auto" else config.schedule
        share = {"constant": 0.0, "cosine": _WARMUP_SHARE, "one_cycle": ONE_CYCLE_RISE}[kind]
        warmup = share * config.epochs if config.warmup_epochs is None else config.warmup_epochs
        return cls(kind, config.epochs, warmup)

    @property
    def is_flat(self) -> bool:
        """Whether the learning rate never changes, so that a longer run starts with the same steps."""
        return self.kind == "constant" and not self.warmup_epochs

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """The factor, from 0 to 1, at a step counted from 0 over the whole run.

        Example:
            >>> schedule = LearningRateSchedule("cosine", epochs=2, warmup_epochs=1)
            >>> [round(schedule.factor(step, 4), 2) for step in range(8)]
            [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
        """
        total = self.epochs * steps_per_epoch
        rise = min(total, round(self.warmup_epochs * steps_per_epoch))
        if self.kind == "one_cycle":
            if step < rise:
                return _half_cosine(_ONE_CYCLE_START, 1.0, step / rise)
            return _half_cosine(1.0, _ONE_CYCLE_END, (step - rise) / max(1, total - 1 - rise))
        if step < rise:
            return (step + 1) / rise
        return 1.0 if self.kind == "constant" else _half_cosine(1.0, 0.0, (step - rise) / max(1, total - rise))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
