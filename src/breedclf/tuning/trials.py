"""The trials of a search, how their objectives compare, and which one is best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field

from breedclf.config import Settings, nearest
from breedclf.errors import ConfigError
from breedclf.jobs import metric_lines
from breedclf.tuning.space import Values

Direction = Literal["minimize", "maximize"]
Status = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
ENDED: tuple[Status, ...] = ("Completed", "Failed", "Stopped")

_DIRECTIONS: dict[str, Direction] = {"valid_loss": "minimize", "valid_accuracy": "maximize"}


class Trial(Settings):
    """One training run of a search: its hyperparameters and results.

    `objective` is that of the best epoch; `history` is the objective of each epoch. Times are seconds since 1970.
    """

    name: str
    index: int = Field(ge=0)
    attempt: int = Field(default=1, ge=1)
    submitted: bool = False
    hyperparameters: Values
    status: Status = "InProgress"
    objective: float | None = None
    history: tuple[float, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    failure_reason: str | None = None
    note: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """Duration in seconds; None before it has ended."""
        return None if self.started is None or self.ended is None else max(0.0, self.ended - self.started)

    def next_attempt(self, name: str) -> Self:
        """The same run under another name, not started yet."""
        same = self.model_dump(include={"index", "hyperparameters", "seed"})
        return type(self)(**same, name=name, attempt=self.attempt + 1)


class SeedRun(Trial):
    """A trial that is run again with another training seed; `index` is that of the trial."""

    seed: int = Field(ge=0, lt=2**63)


def objectives() -> tuple[str, ...]:
    """The objectives that a training job prints for its best epoch."""
    names = metric_lines.TRAINING_METRICS.names
    return tuple(name for name in names if metric_lines.best(name) in names and name in _DIRECTIONS)


def direction_of(objective: str) -> Direction:
    """Whether this objective is minimized or maximized.

    Raises:
        ConfigError: the objective is unknown.
    """
    if objective not in objectives():
        raise ConfigError(
            f"objective {objective!r} is not a metric that training jobs print for their best epoch: "
            f"{nearest(objective, objectives())}"
        )
    return _DIRECTIONS[objective]


def is_better(value: float, than: float, direction: Direction) -> bool:
    """Whether a value is strictly better."""
    return value < than if direction == "minimize" else value > than


def best_trial(trials: Iterable[Trial], direction: Direction) -> Trial | None:
    """The completed trial with the best objective, the earliest of equal ones; None if no trial completed."""
    best: Trial | None = None
    best_value = math.nan
    for trial in sorted(ranked(trials), key=lambda each: each.index):
        if trial.objective is None:
            continue
        if best is None or is_better(trial.objective, best_value, direction):
            best, best_value = trial, trial.objective
    return best


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that are ranked: completed, with an objective."""
    return [trial for trial in trials if trial.status == "Completed" and trial.objective is not None]


def best_first(trials: Iterable[Trial], direction: Direction) -> list[Trial]:
    """The trials ordered by objective; then those without one, in the order in which they started."""
    sign = 1 if direction == "minimize" else -1

    def place(trial: Trial) -> tuple[bool, float, int]:
        value = trial.objective if trial.status == "Completed" else None
        return value is None, 0.0 if value is None else sign * value, trial.index

    return sorted(trials, key=place)


def best_so_far(trials: Sequence[Trial], direction: Direction) -> list[float | None]:
    """For each trial, in order, the best objective among completed trials up to it."""
    found = []
    for count in range(1, len(trials) + 1):
        best = best_trial(trials[:count], direction)
        found.append(None if best is None else best.objective)
    return found
