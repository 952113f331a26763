"""Three ways to carry a search on: trials in this process, trials as jobs, and the whole search as one job."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from breedclf.api.training_job import training_spec
from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError, JobError
from breedclf.jobs import (
    Backend,
    JobDescription,
    JobSpec,
    JobStatus,
    MetricRecord,
    iterate_lines,
    metric_lines,
    pauses,
    seconds_until_complete,
)
from breedclf.jobs.handle import Clock
from breedclf.tuning.packed import STUDY_OUTPUT, packed_pairs, study_from_lines
from breedclf.tuning.search import Search, TrialSnapshot
from breedclf.tuning.study import SearchRequest, Study, StudyFolder

OnChange = Callable[[Study], None]

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0
_LOST = "supervisor lost"


class Driver(Protocol):
    """Carries one study on; the caller holds the study's lock. `goes_on` says what becomes of it when nobody waits."""

    goes_on: str

    def begin(self, on_change: OnChange) -> Study:
        """Start what can be started at once; a search in this process runs to its end."""

    def carry_on(self, on_change: OnChange) -> Study:
        """Go on, from wherever the search stands, to its end."""

    def artifact(self, trial: str) -> Path:
        """The model folder of a completed trial.

        Raises:
            BreedclfError: there is none.
        """

    def job(self, trial: str) -> str | None:
        """The name of the job that ran a trial; None when it ran in this process."""


class InProcessDriver:
    """Trials one after the other in this process."""

    goes_on = "its trials so far are kept"

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder

    def begin(self, on_change: OnChange) -> Study:
        return self.carry_on(on_change)

    def carry_on(self, on_change: OnChange) -> Study:
        from breedclf.tuning.in_process import run_in_process

        return run_in_process(self._folder, on_change)

    def artifact(self, trial: str) -> Path:
        from breedclf.tuning.in_process import kept_model

        return kept_model(self._folder, trial)

    def job(self, trial: str) -> str | None:  # noqa: ARG002
        return None


class JobsDriver:
    """Each trial a job of a back end."""

    goes_on = "its running jobs go on"

    def __init__(self, folder: StudyFolder, backend: Backend, clock: Clock = time) -> None:
        self._folder = folder
        self._backend = backend
        self._clock = clock

    def begin(self, on_change: OnChange) -> Study:
        study = self._search().step()
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        search = self._search()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = search.study.trials
            study = search.step()
            on_change(study)
            if study.is_over:
                _join(self._backend, [trial.name for trial in study.trials])
                return study
            pause = _FIRST_PAUSE_SECONDS if study.trials != before else min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            self._clock.sleep(pause)

    def artifact(self, trial: str) -> Path:
        return self._backend.artifact(trial)

    def job(self, trial: str) -> str | None:
        return trial

    def _search(self) -> Search:
        request = self._folder.load().request
        return Search(self._folder, _JobRunner(self._backend, request), self._clock.monotonic)


class PackedDriver:
    """The whole search as one job, which runs its trials one after the other."""

    goes_on = "its running jobs go on"

    def __init__(self, folder: StudyFolder, backend: Backend, clock: Clock = time) -> None:
        self._folder = folder
        self._backend = backend
        self._clock = clock

    def begin(self, on_change: OnChange) -> Study:
        study = self._folder.load()
        if _describe(self._backend, _packed_name(study)) is None:
            self._backend.submit(_packed_spec(study))
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        study = self.begin(on_change)
        waits = pauses(self._backend, growth=1.5)
        while not study.is_over:
            if self._folder.stop_file.exists():
                self._backend.stop(_packed_name(study))
            now = self._look(study)
            if now != study:
                study, waits = now, pauses(self._backend, growth=1.5)
                self._folder.save(study)
            on_change(study)
            if not study.is_over:
                self._clock.sleep(next(waits))
        _join(self._backend, [_packed_name(study)])
        return study

    def artifact(self, trial: str) -> Path:
        study = self._folder.load()
        best = study.best
        if best is None or best.name != trial:
            raise JobError(f"the model of {trial} wasn't kept: a packed search keeps that of its best trial")
        return self._backend.artifact(_packed_name(study))

    def job(self, trial: str) -> str | None:  # noqa: ARG002
        return _packed_name(self._folder.load())

    def _look(self, study: Study) -> Study:
        name = _packed_name(study)
        description = self._backend.describe(name)  # before reading: what came until then is read below
        self._clock.sleep(seconds_until_complete(self._backend, description, self._clock.time()))
        told = study_from_lines(iterate_lines(self._log(name)), study)
        if not description.status.is_final:
            return told.model_copy(update={"status": "InProgress", "reason": None})
        with contextlib.suppress(OSError, BreedclfError):
            written = (self._backend.output(name) / STUDY_OUTPUT).read_text(encoding="utf-8")
            told = study_from_lines([written], told)
        return told if told.is_over else told.ended_unexpectedly(str(description.status), description.failure_reason)

    def _log(self, name: str) -> Iterator[str]:
        text, position = self._backend.read_log(name, 0)
        while text:
            yield text
            text, position = self._backend.read_log(name, position)


class _JobRunner:
    """Trials as jobs."""

    def __init__(self, backend: Backend, request: SearchRequest) -> None:
        self._backend = backend
        self._request = request

    def submit(self, name: str, config: TrainingConfig) -> None:
        spec = _spec(self._request, config, name)
        share = getattr(self._backend, "parallel_spec", None)  # a TuningBackend fits jobs side by side
        self._backend.submit(spec if share is None else share(spec, self._request.max_parallel_jobs))

    def snapshot(self, name: str) -> TrialSnapshot | None:
        description = _describe(self._backend, name)
        if description is None:
            return None
        objective = self._request.objective
        records = self._backend.metric_history(name)
        reason = description.failure_reason
        return TrialSnapshot(
            status=description.status.value,
            history=objective_history(records, objective),
            objective=description.metrics.get(metric_lines.best(objective)),
            metrics=best_epoch(records, description.metrics.get("best_epoch")),
            started=description.started,
            ended=description.ended,
            failure_reason=reason,
            note=_last_word(description) if description.status is JobStatus.STOPPED else None,
            lost=(reason or "").startswith(_LOST),
        )

    def stop(self, name: str) -> None:
        self._backend.stop(name)

    def artifact(self, name: str) -> Path:
        return self._backend.artifact(name)


def _describe(backend: Backend, name: str) -> JobDescription | None:
    """The job, or None when there is none of that name, and only then.

    Raises:
        BreedclfError: it can't be told.
    """
    try:
        return backend.describe(name)
    except JobError:
        if any(job.name == name for job in backend.list_jobs()):
            raise
        return None


def _join(backend: Backend, names: Sequence[str]) -> None:
    """Leave no process behind where jobs have processes on this machine."""
    join = getattr(backend, "join", None)
    if join is None:
        return
    for name in names:
        with contextlib.suppress(JobError):  # a trial that could not be submitted has no job
            join(name)


def _last_word(description: JobDescription) -> str | None:
    """Why a job was stopped, as it was told last."""
    return next((each.message for each in reversed(description.transitions) if each.message), None)


def objective_history(records: Sequence[MetricRecord], objective: str) -> tuple[float, ...]:
    """The objective of each epoch, as it was reported."""
    return tuple(record.values[objective] for record in records if objective in record.values)


def best_epoch(records: Sequence[MetricRecord], epoch: float | None) -> dict[str, float]:
    """What was reported of that epoch."""
    for record in records:
        if epoch is not None and record.values.get("epoch") == epoch:
            return {name: value for name, value in record.values.items() if name.startswith(("train_", "valid_"))}
    return {}


def _packed_name(study: Study) -> str:
    return f"{study.request.name}-all-{study.key}"


def _packed_spec(study: Study) -> JobSpec:
    """One job with the search's settings among its hyperparameters."""
    spec = _spec(study.request, study.request.config, _packed_name(study))
    return spec.replace(hyperparameters={**spec.hyperparameters, **packed_pairs(study)})


def _spec(request: SearchRequest, config: TrainingConfig, name: str) -> JobSpec:
    """The job of one training, found again by the search's name."""
    spec = training_spec(config, name=name).replace(tags={"breedclf-tuning": request.name})
    limit = request.max_seconds_per_job
    return spec if limit is None else spec.replace(max_runtime_seconds=limit)
