"""Stopping rules: for single trials that fall behind, and for the whole search."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from breedclf.config import Settings
from breedclf.tuning.trials import Direction, Trial, best_trial, is_better

HOPELESS_AFTER = 3


class Completion(Settings):
    """Criteria that end a search before all its trials have run.

    Args:
        target: end when a trial reaches this objective.
        not_improving: end after this number of consecutive trials without a new best.
        max_seconds: end after this time, in seconds of active search.
    """

    target: float | None = Field(default=None, allow_inf_nan=False)
    not_improving: int | None = Field(default=None, ge=1)
    max_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)


def falls_behind(values: Sequence[float], earlier: Sequence[Sequence[float]], direction: Direction) -> bool:
    """Whether to stop a trial early, by SageMaker's rule: the median of running averages.

    For each earlier trial that reached the same epoch, the average of its values up to that epoch is computed. The
    trial falls behind if its latest value is worse than the median of these averages.

    Example:
        >>> falls_behind([0.9, 0.8], [[0.6, 0.4], [0.8, 0.6]], "minimize")
        True
    """
    epochs = len(values)
    averages = [statistics.fmean(each[:epochs]) for each in earlier if len(each) >= epochs > 0]
    return bool(averages) and is_better(statistics.median(averages), values[-1], direction)


@dataclass(frozen=True)
class Ending:
    """Why no further trials start, and whether running ones are stopped (`halts`)."""

    reason: str
    halts: bool


def ending_of(
    completion: Completion, trials: Sequence[Trial], max_jobs: int, seconds: float, direction: Direction
) -> Ending | None:
    """Whether the search ends by its criteria; None to continue. `seconds` is its active time so far.

    It also ends if all trials so far, three or more, failed for the same reason.
    """
    best = best_trial(trials, direction)
    if completion.target is not None and best is not None and best.objective is not None:
        reached = best.objective == completion.target or is_better(best.objective, completion.target, direction)
        if reached:
            return Ending(f"the target objective {completion.target:g} was reached by {best.name}", halts=True)
    if (limit := time_limit(completion, seconds)) is not None:
        return limit
    if completion.not_improving is not None and _ended_since_best(trials, best) >= completion.not_improving:
        reason = f"{completion.not_improving} trials in a row ended without a better objective"
        return Ending(reason, halts=True)
    failures = {trial.failure_reason if trial.status == "Failed" else None for trial in trials if trial.is_over}
    if len(failures) == 1 and None not in failures and sum(trial.is_over for trial in trials) >= HOPELESS_AFTER:
        return Ending(f"all trials failed for the same reason: {failures.pop()}", halts=True)
    if len(trials) >= max_jobs:
        return Ending(f"all {max_jobs} trials have run", halts=False)
    return None


def time_limit(completion: Completion, seconds: float) -> Ending | None:
    """Whether the search, or its confirmation, ends by its time; `seconds` is its active time so far."""
    if completion.max_seconds is None or seconds < completion.max_seconds:
        return None
    return Ending(f"the time limit of {completion.max_seconds:g} s was reached", halts=True)


def _ended_since_best(trials: Sequence[Trial], best: Trial | None) -> int:
    """The number of trials that completed after the best one; failed ones aren't counted."""
    completed = [trial for trial in trials if trial.status in ("Completed", "Stopped")]
    return 0 if best is None else sum(trial.index > best.index for trial in completed)
