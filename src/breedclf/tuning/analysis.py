"""Analysis of trials: importance of parameters, and confidence intervals of accuracies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from breedclf.evaluation.result import wilson_interval
from breedclf.tuning.space import Categorical, Parameter, Value
from breedclf.tuning.trials import Direction, Trial, best_trial, ranked

MAX_GROUPS = 4


@dataclass(frozen=True)
class Importance:
    """The share of the objective's variance explained by one parameter, from 0 to 1."""

    name: str
    share: float


def importances(space: Mapping[str, Parameter], trials: Sequence[Trial]) -> list[Importance]:
    """Each parameter's main effect, largest first; empty if fewer than 4 trials are ranked or all are equal.

    Trials are grouped by the parameter's value (ranges into up to 4 groups of equal size). The effect is the share of
    the objective's variance between groups, corrected for chance (omega squared). Interactions between parameters
    aren't detected.
    """
    counted = ranked(trials)
    objectives = [trial.objective for trial in counted if trial.objective is not None]
    if len(counted) < 4 or max(objectives) == min(objectives):
        return []
    found = []
    for name, parameter in space.items():
        groups = _groups([trial.hyperparameters[name] for trial in counted], parameter)
        found.append(Importance(name, _omega_squared(objectives, groups)))
    return sorted(found, key=lambda each: -each.share)


def accuracy_interval(accuracy: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of an accuracy (0 to 1) measured on `count` images."""
    return wilson_interval(min(count, round(accuracy * count)), count)


def level_with_best(trials: Sequence[Trial], direction: Direction, valid_count: int | None) -> list[Trial]:
    """Other trials whose confidence interval contains the best trial's accuracy: they aren't significantly worse."""
    best = best_trial(trials, direction)
    accuracy = None if best is None else best.metrics.get("valid_accuracy")
    if best is None or accuracy is None or not valid_count:
        return []
    level = []
    for trial in ranked(trials):
        share = trial.metrics.get("valid_accuracy")
        if trial is best or share is None:
            continue
        low, high = accuracy_interval(share, valid_count)
        if low <= accuracy <= high:
            level.append(trial)
    return level


def _groups(values: Sequence[Value], parameter: Parameter) -> list[object]:
    """The group of each value."""
    distinct = len(set(values))
    if isinstance(parameter, Categorical) or distinct <= MAX_GROUPS:
        return list(values)
    as_numbers: Callable[[int], float] = lambda i: float(values[i])  # noqa: E731
    order = sorted(range(len(values)), key=as_numbers)
    count = min(MAX_GROUPS, max(2, len(values) // 3))
    groups: list[object] = [0] * len(values)
    for rank, index in enumerate(order):
        groups[index] = rank * count // len(values)
    return groups


def _omega_squared(values: Sequence[float], groups: Sequence[object]) -> float:
    """The share of variance between groups, corrected for chance; 0 if it can't be estimated."""
    mean = statistics.fmean(values)
    total = sum((value - mean) ** 2 for value in values)
    members: dict[object, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    if len(members) < 2 or len(members) == len(values) or total == 0:
        return 0.0
    between = sum(len(each) * (statistics.fmean(each) - mean) ** 2 for each in members.values())
    within = max(0.0, total - between) / (len(values) - len(members))
    share = (between - (len(members) - 1) * within) / (total + within)
    return min(1.0, max(0.0, share))
