"""The events of a training run, for progress, metrics, profiles, loggers and user code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from breedclf.runtime.timers import StepTimer, all_of
from breedclf.training.records import EpochRecord, StepRecord, TrainingPlan

if TYPE_CHECKING:
    from breedclf.features.progress import FeatureProgress
    from breedclf.training.results.result import FitResult
    from breedclf.training.valid_predictions import ValidPredictions

__all__ = ["EpochRecord", "Hook", "StepRecord", "TrainingHook", "TrainingPlan", "timer_of"]


class TrainingHook:
    """Base class of hooks, whose methods do nothing: override those that you need.

    An object of any other class with some of these methods works, too. If a hook has a `timer` (a `StepTimer`), that
    receives the parts of each step. With several processes only the hooks of the first are called.

    An exception in `on_start`, `on_features`, `on_step`, `on_valid` or `on_epoch` ends the run, which raises it
    unchanged; exceptions in the other methods are logged.
    """

    def on_start(self, plan: TrainingPlan, /) -> None:
        """Called before the first image is read; `plan.request_stop()` ends the run at any later time."""

    def on_features(self, progress: FeatureProgress, /) -> None:
        """Called while features are computed, at most ten times per second, and at the end of each view."""

    def on_step(self, step: StepRecord, /) -> None:
        """Called after each optimizer step; keep it cheap."""

    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions, /) -> None:
        """Called before `on_epoch`; predictions are collected only if a hook has this method."""

    def on_epoch(self, epoch: EpochRecord, /) -> None:
        """Called after the validation of each epoch."""

    def on_failure(self, error: BaseException, /) -> None:
        """Called if the run fails (`Exception`) or is interrupted (`KeyboardInterrupt`), even before `on_start`."""

    def on_end(self, result: FitResult, /) -> None:
        """Called after the model is written."""

    def close(self) -> None:
        """Called last, once per run, however it ended."""


class _OnStart(Protocol):
    def on_start(self, plan: TrainingPlan, /) -> None: ...


class _OnFeatures(Protocol):
    def on_features(self, progress: FeatureProgress, /) -> None: ...


class _OnStep(Protocol):
    def on_step(self, step: StepRecord, /) -> None: ...


class _OnValid(Protocol):
    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions, /) -> None: ...


class _OnEpoch(Protocol):
    def on_epoch(self, epoch: EpochRecord, /) -> None: ...


class _OnFailure(Protocol):
    def on_failure(self, error: BaseException, /) -> None: ...


class _OnEnd(Protocol):
    def on_end(self, result: FitResult, /) -> None: ...


class _Closing(Protocol):
    def close(self) -> None: ...


class _Timed(Protocol):
    @property
    def timer(self) -> StepTimer: ...


Hook = TrainingHook | _OnStart | _OnFeatures | _OnStep | _OnValid | _OnEpoch | _OnFailure | _OnEnd | _Closing | _Timed
"""An object with any of the methods of `TrainingHook`."""


def timer_of(hooks: Iterable[Hook]) -> StepTimer:
    """One timer that forwards to those of all hooks; it does nothing if there are none."""
    timers = (getattr(hook, "timer", None) for hook in hooks)
    return all_of([timer for timer in timers if timer is not None])
