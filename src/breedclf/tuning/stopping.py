"""When to stop: a trial that falls behind the others, and the search as a whole."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from breedclf.config import Settings
from breedclf.tuning.trials import Direction, Trial, best_trial, is_better

HOPELESS_AFTER = 3


class Completion(Settings):
    """When a search ends before its trials are used up.

    Args:
        target: an objective that is good enough.
        not_improving: so many trials in a row that ended without a new best.
        max_seconds: how long the search may work.
    """

    target: float | None = Field(default=None, allow_inf_nan=False)
    not_improving: int | None = Field(default=None, ge=1)
    max_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)


def falls_behind(values: Sequence[float], earlier: Sequence[Sequence[float]], direction: Direction) -> bool:
    """Whether a trial is to be stopped early, by SageMaker's rule: the median of running averages.

    Its value at its last epoch is compared with the median, over the earlier trials that reached that epoch, of the
    average of their values up to it. It has to be worse, not equal.

    Example:
        >>> falls_behind([0.9, 0.8], [[0.6, 0.4], [0.8, 0.6]], "minimize")
        True
    """
    epochs = len(values)
    averages = [statistics.fmean(each[:epochs]) for each in earlier if len(each) >= epochs > 0]
    return bool(averages) and is_better(statistics.median(averages), values[-1], direction)


@dataclass(frozen=True)
class Ending:
    """Why no further trial is to start, in words, and whether those that run are stopped too."""

    reason: str
    halts: bool


def ending_of(
    completion: Completion, trials: Sequence[Trial], max_jobs: int, seconds: float, direction: Direction
) -> Ending | None:
    """Whether the search is to end by its criteria; None to go on. `seconds` is how long it has worked.

    Besides the criteria: when the first three trials or more all failed for one reason, the rest would too.
    """
    best = best_trial(trials, direction)
    if completion.target is not None and best is not None and best.objective is not None:
        reached = best.objective == completion.target or is_better(best.objective, completion.target, direction)
        if reached:
            return Ending(f"the target objective {completion.target:g} was reached by {best.name}", halts=True)
    if completion.max_seconds is not None and seconds >= completion.max_seconds:
        return Ending(f"the longest run time of {completion.max_seconds:g} s was reached", halts=True)
    if completion.not_improving is not None and _ended_since_best(trials, best) >= completion.not_improving:
        reason = f"{completion.not_improving} trials in a row ended without a better objective"
        return Ending(reason, halts=True)
    failures = {trial.failure_reason if trial.status == "Failed" else None for trial in trials if trial.is_over}
    if len(failures) == 1 and None not in failures and sum(trial.is_over for trial in trials) >= HOPELESS_AFTER:
        return Ending(f"the first trials all failed for one reason: {failures.pop()}", halts=True)
    if len(trials) >= max_jobs:
        return Ending(f"all {max_jobs} trials have run", halts=False)
    return None


def _ended_since_best(trials: Sequence[Trial], best: Trial | None) -> int:
    """How many trials completed after the best one; failed ones say nothing about the space."""
    completed = [trial for trial in trials if trial.status in ("Completed", "Stopped")]
    return 0 if best is None else sum(trial.index > best.index for trial in completed)
