"""What the trials of a search say: which parameter mattered, and how sure a share of a few images is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from breedclf.evaluation.metrics import wilson_interval
from breedclf.tuning.space import Categorical, Parameter, Value
from breedclf.tuning.trials import Direction, Trial, best_trial

MAX_GROUPS = 4


@dataclass(frozen=True)
class Importance:
    """How much of the objective's spread goes along with one parameter: `share` from 0 to 1."""

    name: str
    share: float


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that count: completed, with an objective."""
    return [trial for trial in trials if trial.status == "Completed" and trial.objective is not None]


def importances(space: Mapping[str, Parameter], trials: Sequence[Trial]) -> list[Importance]:
    """Each parameter's main effect, the largest first; empty when fewer than 4 trials count or all are equal.

    The trials are grouped by the parameter's value (a range in up to 4 groups of equal size), and the share of the
    objective's variance that lies between the groups is corrected for what chance alone puts there (omega squared).
    Parameters that only matter together show in neither.
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
    """The 95% interval of an accuracy measured on `count` images."""
    return wilson_interval(min(count, round(accuracy * count)), count)


def level_with_best(trials: Sequence[Trial], direction: Direction, valid_count: int | None) -> list[Trial]:
    """The other trials whose accuracy's interval holds the best trial's accuracy: these images can't part them."""
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
    """The share of variance between groups, less what chance puts there; 0 when it can't be told."""
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
