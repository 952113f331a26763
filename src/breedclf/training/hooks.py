"""Callbacks of a training run, for progress, metrics, profiles, loggers and user code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from breedclf.runtime.timers import StepTimer, all_of
from breedclf.training.records import EpochRecord, StepRecord, TrainingPlan

if TYPE_CHECKING:
    from breedclf.training.result import FitResult
    from breedclf.training.valid_predictions import ValidPredictions

__all__ = ["EpochRecord", "StepRecord", "TrainingHook", "TrainingPlan", "timer_of"]


class TrainingHook:
    """Callbacks for the events of a run. Inherit from it and override some.

    If a hook has a `timer` (a `StepTimer`), that receives the parts of each step. An exception in a hook ends the run.
    With several processes only the hooks of the first are called.
    """

    def on_start(self, plan: TrainingPlan) -> None:
        """Called before the first image is read."""
        del plan

    def on_step(self, step: StepRecord) -> None:
        """Called after each optimizer step; keep it cheap."""
        del step

    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions) -> None:
        """Called before `on_epoch`; predictions are collected only for hooks that have this method."""
        del epoch, predictions

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Called after the validation of each epoch."""
        del epoch

    def on_end(self, result: FitResult) -> None:
        """Called after the artifact is written."""
        del result


def listens(hook: TrainingHook, event: str) -> bool:
    """Whether the hook has a method of its own for this event; those of the base class do nothing."""
    method = getattr(hook, event, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(TrainingHook, event, None)


def timer_of(hooks: Iterable[TrainingHook]) -> StepTimer:
    """One timer that forwards to those of all hooks; it does nothing if there are none."""
    timers = (getattr(hook, "timer", None) for hook in hooks)
    return all_of([timer for timer in timers if timer is not None])
