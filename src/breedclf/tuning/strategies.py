"""Search strategies: functions of the plan and the trials so far, so that a search can be resumed at any time."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tqdm import TqdmWarning

from breedclf.errors import ConfigError
from breedclf.tuning.space import Categorical, Continuous, Integer, Parameter, Value, Values, size
from breedclf.tuning.trials import Direction, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Strategy = Literal["grid", "random", "bayesian"]

_REDRAWS = 200


@dataclass(frozen=True)
class Plan:
    """Everything that determines the hyperparameters of trials, apart from the results of earlier ones."""

    space: Mapping[str, Parameter]
    strategy: Strategy = "bayesian"
    seed: int = 0
    max_parallel: int = 1
    grid_points: int | None = None
    direction: Direction = "minimize"


class NotYet(Exception):  # noqa: N818 - not an error, but the answer "try again later"
    """The next trial depends on results of trials that are still running."""


def propose(plan: Plan, trials: Sequence[Trial]) -> Values | None:
    """The hyperparameters of the next trial; None if the space is exhausted.

    The result only depends on the plan and on these trials: not on the time, earlier calls or other state. The same
    seed gives the same trials; the bayesian strategy uses the results up to `max_parallel` trials back, so it is also
    reproducible regardless of how long each trial takes.

    Raises:
        NotYet: a required result isn't available yet.

    Example:
        >>> propose(Plan({"epochs": Categorical(2, 3)}, strategy="grid"), [])
        {'epochs': 2}
    """
    if plan.strategy == "grid":
        points = grid(plan.space, plan.grid_points)
        return points[len(trials)] if len(trials) < len(points) else None
    tried = [trial.hyperparameters for trial in trials]
    total = size(plan.space)
    if total is not None and len(tried) >= total:
        return None
    values = _bayesian(plan, trials) if plan.strategy == "bayesian" else _random(plan, len(trials), 0)
    redraw = 0
    while values in tried:  # the same settings and seed give the same result
        redraw += 1
        if redraw > _REDRAWS:
            return _first_untried(plan.space, tried)
        values = _random(plan, len(trials), redraw)
    return values


def grid(space: Mapping[str, Parameter], grid_points: int | None = None) -> list[Values]:
    """Every point of the grid, the last parameter changing fastest.

    Raises:
        ConfigError: the space has a range and `grid_points` isn't given.
    """
    columns = [grid_values(name, parameter, grid_points) for name, parameter in space.items()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*columns)]


def grid_size(space: Mapping[str, Parameter], grid_points: int | None = None) -> int:
    """The number of points of the grid, without generating them.

    Raises:
        ConfigError: the space has a range and `grid_points` isn't given.
    """
    return math.prod(len(grid_values(name, parameter, grid_points)) for name, parameter in space.items())


def grid_values(name: str, parameter: Parameter, grid_points: int | None) -> Sequence[Value]:
    if isinstance(parameter, Categorical):
        return parameter.values
    if grid_points is None:
        raise ConfigError(
            f"strategy 'grid' only takes categorical parameters, and {name} is a range ({parameter}): list the values, "
            f"as in Categorical({_shown(parameter.low)}, {_shown(parameter.high)}), or set grid_points=3 to try "
            "3 values of each range"
        )
    if grid_points < 2:
        raise ConfigError(f"grid_points={grid_points}: a range needs at least 2 points, its two ends")
    if isinstance(parameter, Integer):
        reals = Continuous(parameter.low, parameter.high, parameter.scaling)
        return list(dict.fromkeys(round(reals.at(i / (grid_points - 1))) for i in range(grid_points)))
    return [parameter.at(i / (grid_points - 1)) for i in range(grid_points)]


def _random(plan: Plan, index: int, redraw: int) -> Values:
    source = random.Random(_derived_seed(plan.seed, index, redraw))
    values: Values = {}
    for name, parameter in plan.space.items():
        if isinstance(parameter, Categorical):
            values[name] = source.choice(parameter.values)
        else:
            values[name] = parameter.at(source.random())
    return values


def _first_untried(space: Mapping[str, Parameter], tried: Sequence[Values]) -> Values | None:
    """Any point not tried yet; needed when random draws keep repeating, since few points are left."""
    if size(space) is None:
        return None
    columns = [
        parameter.values if isinstance(parameter, Categorical) else range(int(parameter.low), int(parameter.high) + 1)
        for parameter in space.values()
    ]
    points = (dict(zip(space, point, strict=True)) for point in itertools.product(*columns))
    return next((point for point in points if point not in tried), None)


def _bayesian(plan: Plan, trials: Sequence[Trial]) -> Values:
    """Use Optuna's tree-structured Parzen estimator, initialized with the whole history."""
    known = trials[: max(0, len(trials) - plan.max_parallel + 1)]
    if any(not trial.is_over for trial in known):
        raise NotYet
    pending = trials[len(known) :]
    with warnings.catch_warnings():  # of tqdm.auto, which Optuna imports, about widgets that a notebook may lack
        warnings.simplefilter("ignore", TqdmWarning)
        import optuna

    sampler = optuna.samplers.TPESampler(
        seed=_derived_seed(plan.seed, len(trials), 0) % 2**32,
        n_startup_trials=min(10, max(4, 2 * len(plan.space))),
        constant_liar=True,  # running trials count as poor, so that parallel trials differ
    )
    with _quiet_optuna():
        study = optuna.create_study(sampler=sampler, direction=plan.direction)
    distributions = {name: _distribution(parameter) for name, parameter in plan.space.items()}
    for trial in known:
        if (finished := _optuna_trial(trial, distributions)) is not None:
            study.add_trial(finished)
    for trial in pending:
        running = optuna.trial.TrialState.RUNNING
        study.add_trial(
            optuna.trial.create_trial(state=running, params=dict(trial.hyperparameters), distributions=distributions)
        )
    params = study.ask(distributions).params
    return {name: params[name] for name in plan.space}


def _optuna_trial(trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial | None:
    """Convert a finished trial for Optuna; None for one without results."""
    import optuna

    arguments: dict[str, Any] = {"params": dict(trial.hyperparameters), "distributions": distributions}
    if trial.status == "Completed" and trial.objective is not None:
        return optuna.trial.create_trial(value=trial.objective, **arguments)
    if trial.status == "Stopped" and trial.history:
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.PRUNED, intermediate_values=dict(enumerate(trial.history)), **arguments
        )
    return None


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's log messages about the study that is created for each proposal."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Categorical):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, Integer):
        return IntDistribution(parameter.low, parameter.high, log=parameter.scaling == "log")
    return FloatDistribution(parameter.low, parameter.high, log=parameter.scaling == "log")


def _derived_seed(*numbers: int) -> int:
    """Derive a separate seed for each trial, so that no state is needed between trials."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, numbers)).encode()).digest()[:8], "big")


def _shown(number: float) -> str:
    return f"{number:g}"
