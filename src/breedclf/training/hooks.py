"""Whom a training tells what happens; progress, metrics, profiles, loggers and users' own code hang on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from breedclf.runtime.timers import StepTimer, all_of
from breedclf.training.records import EpochRecord, StepRecord, TrainingPlan

if TYPE_CHECKING:
    from breedclf.training.result import FitResult

__all__ = ["EpochRecord", "StepRecord", "TrainingHook", "TrainingPlan", "timer_of"]


class TrainingHook(Protocol):
    """Four events of a training. Derive from it and override what you want to hear of, or write all four methods.

    A hook that has a `timer` (a `StepTimer`) hears of the parts of each step too. What a hook raises ends the training.
    With several processes only the hooks of the first are told.
    """

    def on_start(self, plan: TrainingPlan) -> None:
        """Before the first picture is read."""
        del plan

    def on_step(self, step: StepRecord) -> None:
        """After each optimizer step; keep it cheap."""
        del step

    def on_epoch(self, epoch: EpochRecord) -> None:
        """After the validation of each epoch."""
        del epoch

    def on_end(self, result: FitResult) -> None:
        """After the artifact is written."""
        del result


def timer_of(hooks: Iterable[TrainingHook]) -> StepTimer:
    """One timer that stands for those of all hooks, or one that does nothing."""
    timers = (getattr(hook, "timer", None) for hook in hooks)
    return all_of([timer for timer in timers if timer is not None])
