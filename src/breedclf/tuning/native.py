"""A search that a backend runs as a whole: the request, its description, and the study that mirrors it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError
from breedclf.jobs import Backend, JobSpec, metric_lines
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical, Continuous, Parameter, Value, Values
from breedclf.tuning.strategies import grid_values
from breedclf.tuning.study import Study
from breedclf.tuning.trials import Status, Trial, best_trial, is_better

TELL_BEST_VARIABLE = "BREEDCLF_TELL_BEST"
GONE = "the tuning job no longer exists: it was deleted"


@dataclass(frozen=True)
class NativeSearch:
    """A search for a backend to run: `job` is what all its training jobs share, under the search's name.

    `since` is when the study was created (seconds since 1970), to distinguish it from older ones of the same name.
    """

    request: SearchRequest
    job: JobSpec
    since: float = 0.0

    @property
    def space(self) -> dict[str, Parameter]:
        """The search space; for a grid search, ranges are converted to lists of values."""
        request = self.request
        if request.strategy != "grid":
            return dict(request.space)
        return {
            name: Categorical(*grid_values(name, parameter, request.grid_points))
            for name, parameter in request.space.items()
        }

    @property
    def shared(self) -> dict[str, str]:
        """The hyperparameters that are the same in all training jobs."""
        return {name: value for name, value in self.job.hyperparameters.items() if name not in self.request.space}

    @property
    def metric(self) -> str:
        """The metric by which training jobs are compared: the objective of their best epoch."""
        return metric_lines.best(self.request.objective)


@dataclass(frozen=True)
class NativeTrial:
    """One training job of such a search, as the service describes it; times are seconds since 1970 (UTC)."""

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
    """The backend's description of such a search; `best` is the training job that it considers best."""

    name: str
    status: Status
    created: float
    ended: float | None = None
    reason: str | None = None
    trials: tuple[NativeTrial, ...] = ()
    best: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NativeSummary:
    """One entry of a backend's list of such searches; `counts` are the numbers of trials by status."""

    name: str
    status: Status
    created: float
    ended: float | None = None
    planned: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class ListedTunings(Protocol):
    """A backend that lists the searches it runs as a whole, those of other programs included."""

    def list_tunings(self) -> list[NativeSummary]:
        """All such searches, without their trials."""


@runtime_checkable
class NativeTuning(Backend, Protocol):
    """A backend that runs a whole search by itself, even if no client is connected.

    Starting the same search twice, such as after a lost response, must be idempotent.
    """

    def create_tuning(self, search: NativeSearch) -> None:
        """Start the search; ConfigError if its name is taken or the backend can't run it."""

    def describe_tuning(self, name: str) -> NativeDescription | None:
        """The current state of the search with all its training jobs; None if there is no search of that name."""

    def stop_tuning(self, name: str) -> None:
        """Stop the search and its running training jobs; no effect if it has ended or doesn't exist."""

    def find_tuning(self, name: str) -> SearchRequest:
        """Reconstruct a search's request from the backend's record of it.

        Raises:
            ConfigError: there is no search of that name, or breedclf didn't create it.
        """


class SdkTuner(Protocol):
    """The HyperparameterTuner of the SageMaker SDK; this is the part of it that starts the search."""

    def tune(self, *, job_name: str | None = None, wait: bool = True) -> object: ...


@runtime_checkable
class SdkTuning(Protocol):
    """A backend that can hand a search over to its service's own SDK."""

    def sdk_tuner(self, search: NativeSearch) -> SdkTuner:
        """The SDK's tuner with the settings of this search."""


def mirrored(study: Study, description: NativeDescription | None) -> Study:
    """Update the study from the backend's description; earlier details of trials are kept."""
    if description is None:
        return study if study.is_over else study.ended_unexpectedly("Failed", GONE)
    known = {trial.name: trial for trial in study.trials}
    ordered = sorted(description.trials, key=lambda each: (each.created, each.name))
    trials = tuple(_trial(index, each, study.request, known.get(each.name)) for index, each in enumerate(ordered))
    status, reason = description.status, description.reason
    if status == "Completed" and best_trial(trials, study.request.direction) is None:
        status, reason = "Failed", reason or "no training job completed with a finite objective"
    changes = {"status": status, "trials": trials, "reason": reason}
    if status in ("InProgress", "Stopping"):
        changes["reason"] = None
    elif reason is None:
        changes["reason"] = f"the service ended it as {status} after {len(trials)} training jobs"
    seconds = None if description.ended is None else max(0.0, description.ended - description.created)
    return study.model_copy(update={**changes, **({} if seconds is None else {"active_seconds": seconds})})


def disagreement(study: Study, description: NativeDescription) -> str | None:
    """A message if the backend considers another trial best, other than an equal one; otherwise None."""
    best, theirs = study.best, next((trial for trial in study.trials if trial.name == description.best), None)
    if best is None or best.objective is None or description.best in (None, best.name):
        return None
    if (
        theirs is None
        or theirs.objective is None
        or is_better(best.objective, theirs.objective, study.request.direction)
    ):
        return f"the service reports {description.best} as the best trial, but by its list of trials it is {best.name}"
    return None


def typed_values(texts: Mapping[str, str], space: Mapping[str, Parameter]) -> Values:
    """Convert a trial's hyperparameters from text to their types.

    Raises:
        BreedclfError: a parameter of the space is missing, or has an invalid value.
    """
    missing = sorted(set(space) - set(texts))
    if missing:
        raise BreedclfError(f"the service doesn't report {', '.join(missing)} of a trial, only {dict(texts)}")
    return {name: _typed(name, texts[name], parameter) for name, parameter in space.items()}


def value_texts(config: TrainingConfig, name: str, values: tuple[Value, ...]) -> list[str]:
    """Format values of a setting as a job's hyperparameters."""
    return [config.replace(**{name: value}).to_hyperparameters()[name] for value in values]


def _trial(index: int, description: NativeTrial, request: SearchRequest, known: Trial | None) -> Trial:
    objective = (
        description.objective if description.objective is not None and math.isfinite(description.objective) else None
    )
    trial = Trial(
        name=description.name,
        index=index,
        submitted=True,
        hyperparameters=typed_values(description.hyperparameters, request.space),
        status=description.status,
        objective=objective,
        started=description.started,
        ended=description.ended,
        failure_reason=description.failure_reason,
        note=_note(description, objective),
    )
    if known is None:
        return trial
    return trial.model_copy(update={"history": known.history, "metrics": known.metrics})


def _note(description: NativeTrial, objective: float | None) -> str | None:
    if description.status == "Completed" and objective is None:
        return "the job has no finite objective and isn't ranked"
    if description.status == "Stopped":
        return description.failure_reason or "stopped by the service or the user"
    return None


def _typed(name: str, text: str, parameter: Parameter) -> Value:
    plain = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    try:
        if isinstance(parameter, Categorical):
            return _choice(plain, parameter.values)
        return float(plain) if isinstance(parameter, Continuous) else round(float(plain))
    except ValueError as error:
        raise BreedclfError(f"the service tried {name}={text!r}, which isn't one of {parameter}") from error


def _choice(text: str, values: tuple[Value, ...]) -> Value:
    """Find the choice with this text: numbers are compared by value, booleans and text by their text."""
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
