"""Repeats the best trials of a search with other training seeds: which ones, and whether their difference is chance."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence

from pydantic import Field

from breedclf.config import Settings
from breedclf.evaluation.paired import LEVEL, paired_t
from breedclf.tuning.trials import Direction, SeedRun, Trial, is_better, ranked

MOST_CONFIRMED = 4

Scores = Mapping[tuple[int, int], Sequence[float]]
"""The objective of each validation image, by the trial's index and the seed."""


class ConfirmedTrial(Settings):
    """A trial with other seeds.

    Args:
        name: of the trial.
        objectives: with each of the other seeds; None for a run that didn't complete.
        p_value: how likely its difference from the best trial is by chance alone; None for the best trial, and if they
            have fewer than two seeds in common.
    """

    name: str
    objectives: tuple[float | None, ...]
    p_value: float | None = Field(default=None, ge=0, le=1)

    @property
    def completed(self) -> list[float]:
        return [value for value in self.objectives if value is not None]

    @property
    def mean(self) -> float | None:
        """The mean objective over the other seeds."""
        return statistics.fmean(self.completed) if self.completed else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the objective over the other seeds; None for fewer than two."""
        return statistics.stdev(self.completed) if len(self.completed) > 1 else None


class Confirmation(Settings):
    """The best trials of a search with other seeds, in their order in the search.

    Args:
        best: the name of the best trial: that of the search, unless another one is significantly better.
        seeds: the other training seeds.
        trials: the confirmed trials, including the best one.
    """

    best: str
    seeds: tuple[int, ...]
    trials: tuple[ConfirmedTrial, ...]

    @property
    def level_with(self) -> tuple[str, ...]:
        """The names of the trials that can't be distinguished from the best one."""
        return tuple(trial.name for trial in self.trials if trial.name != self.best and not _differs(trial.p_value))

    def to_dict(self) -> dict[str, object]:
        """For JSON: the seeds, and of each trial the objectives, mean, standard deviation (`spread`) and p-value."""
        trials = [
            {
                "name": trial.name,
                "objectives": list(trial.objectives),
                "mean": trial.mean,
                "spread": trial.spread,
                "p_value": trial.p_value,
                "is_level": trial.name in self.level_with,
            }
            for trial in self.trials
        ]
        return {"best": self.best, "seeds": list(self.seeds), "trials": trials}


def contenders(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """The trials to confirm: those with the best objectives, at most four; of equal ones, the earliest.

    A single completed trial has nothing to be compared with.
    """
    sign = 1 if direction == "minimize" else -1
    order = sorted(ranked(trials), key=lambda trial: (sign * (trial.objective or 0.0), trial.index))
    return order[:MOST_CONFIRMED] if len(order) > 1 else []


def confirm(
    trials: Sequence[Trial], runs: Sequence[SeedRun], seeds: Sequence[int], scores: Scores, direction: Direction
) -> Confirmation | None:
    """Compare trials by their runs with other seeds; None if fewer than two seeds of the best trial completed.

    A difference counts only if it is significant over the seeds and over the validation images: the p-value of a pair
    is the larger of two paired t tests, one of the mean of each seed and one of the mean of each image, times the
    number of pairs. The best trial of the search stays the best unless another one is significantly better; of
    several, the one with the best mean.

    Sources: X. Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021 (a comparison
    needs both the variation of seeds and that of images); R. L. Berger, "Multiparameter hypothesis testing and
    acceptance sampling", 1982 (the larger of the p-values); C. E. Bonferroni, 1936 (times the number of pairs).

    Args:
        trials: the contenders, best first.
        runs: theirs with other seeds, in any state.
        seeds: the other seeds.
        scores: of completed runs; a run without them isn't compared.
        direction: whether a smaller objective is better.
    """
    objectives = {(run.index, run.seed): run.objective for run in runs if run.status == "Completed"}
    first = trials[0]
    if sum(objectives.get((first.index, seed)) is not None for seed in seeds) < 2:
        return None
    confirmed = {
        trial.name: ConfirmedTrial(
            name=trial.name, objectives=tuple(objectives.get((trial.index, seed)) for seed in seeds)
        )
        for trial in trials
    }
    pairs = len(trials) * (len(trials) - 1) // 2
    p_values = {
        frozenset((one.name, other.name)): _p_value(one, other, seeds, scores, pairs)
        for one, other in itertools.combinations(trials, 2)
    }
    best = confirmed[first.name]
    for trial in confirmed.values():
        significant = _differs(p_values.get(frozenset((trial.name, first.name))))
        if significant and trial.mean is not None and best.mean is not None:
            best = trial if is_better(trial.mean, best.mean, direction) else best
    compared = [trial.replace(p_value=p_values.get(frozenset((trial.name, best.name)))) for trial in confirmed.values()]
    return Confirmation(best=best.name, seeds=tuple(seeds), trials=tuple(compared))


def _differs(p_value: float | None) -> bool:
    return p_value is not None and p_value < LEVEL


def _p_value(one: Trial, other: Trial, seeds: Sequence[int], scores: Scores, pairs: int) -> float | None:
    """The p-value of the difference of two trials; None if it can't be computed."""
    differences = [
        [a - b for a, b in zip(scores[one.index, seed], scores[other.index, seed], strict=True)]
        for seed in seeds
        if len(scores.get((one.index, seed), ())) == len(scores.get((other.index, seed), ())) > 0
    ]
    if len(differences) < 2:
        return None
    by_seed = paired_t([statistics.fmean(each) for each in differences])
    by_image = paired_t([statistics.fmean(each) for each in zip(*differences, strict=True)])
    return min(1.0, max(by_seed, by_image) * pairs)
