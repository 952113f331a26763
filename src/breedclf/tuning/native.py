"""A search that a back end runs as a whole: what it is asked for, what it tells, and the study as its mirror."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError
from breedclf.jobs import Backend, JobSpec, metric_lines
from breedclf.tuning.space import Categorical, Continuous, Parameter, Value, Values
from breedclf.tuning.strategies import grid_values
from breedclf.tuning.study import SearchRequest, Study
from breedclf.tuning.trials import Status, Trial, best_trial, is_better

TELL_BEST_VARIABLE = "BREEDCLF_TELL_BEST"
GONE = "the tuning job is gone: somebody removed it"


@dataclass(frozen=True)
class NativeSearch:
    """A search to be run elsewhere: `job` holds what all its trainings share, under the search's name.

    `since` is when it was written down (seconds since 1970), so that it can't be taken for an older one of its name.
    """

    request: SearchRequest
    job: JobSpec
    since: float = 0.0

    @property
    def space(self) -> dict[str, Parameter]:
        """What is tried; a grid's ranges as the values that it takes of them."""
        request = self.request
        if request.strategy != "grid":
            return dict(request.space)
        return {
            name: Categorical(*grid_values(name, parameter, request.grid_points))
            for name, parameter in request.space.items()
        }

    @property
    def shared(self) -> dict[str, str]:
        """The hyperparameters that are the same in all trainings."""
        return {name: value for name, value in self.job.hyperparameters.items() if name not in self.request.space}

    @property
    def metric(self) -> str:
        """The metric that trainings are compared by: the objective of their best epoch."""
        return metric_lines.best(self.request.objective)


@dataclass(frozen=True)
class NativeTrial:
    """One training of such a search, in the service's words; times are seconds since 1970 (UTC)."""

    name: str
    status: Status
    hyperparameters: Mapping[str, str]
    created: float
    objective: float | None = None
    started: float | None = None
    ended: float | None = None
    failure_reason: str | None = None


@dataclass(frozen=True)
class NativeDescription:
    """What the back end knows about such a search; `best` is the training that it holds for the best."""

    name: str
    status: Status
    created: float
    ended: float | None = None
    reason: str | None = None
    trials: tuple[NativeTrial, ...] = ()
    best: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class NativeTuning(Backend, Protocol):
    """A back end that runs a whole search by itself, whether anybody waits for it or not.

    Starting the same search twice, as happens when an answer is lost, is one search.
    """

    def create_tuning(self, search: NativeSearch) -> None:
        """Start the search; ConfigError when its name is taken or it can't be run there."""

    def describe_tuning(self, name: str) -> NativeDescription | None:
        """What is known about the search now, with every training so far; None when there is none of that name."""

    def stop_tuning(self, name: str) -> None:
        """Ask the search and its running trainings to stop; nothing happens when it has ended or isn't there."""

    def find_tuning(self, name: str) -> SearchRequest:
        """What a search was asked for, from the back end's own record of it.

        Raises:
            ConfigError: there is none of that name, or it isn't one of breedclf's.
        """


def mirrored(study: Study, told: NativeDescription | None) -> Study:
    """The study as the back end tells it now; what was learned of a trial before is kept."""
    if told is None:
        return study if study.is_over else study.ended_without_word("Failed", GONE)
    known = {trial.name: trial for trial in study.trials}
    ordered = sorted(told.trials, key=lambda each: (each.created, each.name))
    trials = tuple(_trial(index, each, study.request, known.get(each.name)) for index, each in enumerate(ordered))
    status, reason = told.status, told.reason
    if status == "Completed" and best_trial(trials, study.request.direction) is None:
        status, reason = "Failed", reason or "no training completed with a number as its objective"
    changes = {"status": status, "trials": trials, "reason": reason}
    if status in ("InProgress", "Stopping"):
        changes["reason"] = None
    elif reason is None:
        changes["reason"] = f"the service ended it as {status} after {len(trials)} trainings"
    seconds = None if told.ended is None else max(0.0, told.ended - told.created)
    return study.model_copy(update={**changes, **({} if seconds is None else {"active_seconds": seconds})})


def disagreement(study: Study, told: NativeDescription) -> str | None:
    """What to say when the back end holds another trial for the best that isn't one of equals; None if it doesn't."""
    best, theirs = study.best, next((trial for trial in study.trials if trial.name == told.best), None)
    if best is None or best.objective is None or told.best in (None, best.name):
        return None
    if (
        theirs is None
        or theirs.objective is None
        or is_better(best.objective, theirs.objective, study.request.direction)
    ):
        return f"the service holds {told.best} for the best trial, its own list of trials {best.name}"
    return None


def typed_values(texts: Mapping[str, str], space: Mapping[str, Parameter]) -> Values:
    """A trial's hyperparameters in their own types.

    Raises:
        BreedclfError: one of the space is missing, or isn't of its type.
    """
    missing = sorted(set(space) - set(texts))
    if missing:
        raise BreedclfError(f"the service tells no {', '.join(missing)} of a trial; it tells {dict(texts)}")
    return {name: _typed(name, texts[name], parameter) for name, parameter in space.items()}


def value_texts(config: TrainingConfig, name: str, values: tuple[Value, ...]) -> list[str]:
    """Values of a field as a job's hyperparameters spell them."""
    return [config.replace(**{name: value}).to_hyperparameters()[name] for value in values]


def _trial(index: int, told: NativeTrial, request: SearchRequest, known: Trial | None) -> Trial:
    objective = told.objective if told.objective is not None and math.isfinite(told.objective) else None
    trial = Trial(
        name=told.name,
        index=index,
        submitted=True,
        hyperparameters=typed_values(told.hyperparameters, request.space),
        status=told.status,
        objective=objective,
        started=told.started,
        ended=told.ended,
        failure_reason=told.failure_reason,
        note=_note(told, objective),
    )
    if known is None:
        return trial
    return trial.model_copy(update={"history": known.history, "metrics": known.metrics})


def _note(told: NativeTrial, objective: float | None) -> str | None:
    if told.status == "Completed" and objective is None:
        return "the job ended without a number as its objective: it is left out of the ranking"
    if told.status == "Stopped":
        return told.failure_reason or "stopped by the service or the user"
    return None


def _typed(name: str, text: str, parameter: Parameter) -> Value:
    plain = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    try:
        if isinstance(parameter, Categorical):
            return _choice(plain, parameter.values)
        return float(plain) if isinstance(parameter, Continuous) else round(float(plain))
    except ValueError as error:
        raise BreedclfError(f"the service tried {name}={text!r}, which is none of {parameter}") from error


def _choice(text: str, values: tuple[Value, ...]) -> Value:
    """The choice that is spelled so: numbers by their worth, booleans and text by their word."""
    for value in values:
        if isinstance(value, bool):
            if text.lower() == str(value).lower():
                return value
        elif isinstance(value, str):
            if text == value:
                return value
        elif _as_number(text) == float(value):
            return value
    raise ValueError(text)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
