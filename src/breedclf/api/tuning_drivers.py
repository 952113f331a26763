"""Three ways to run a search: trials in this process, trials as jobs, and the whole search as one job."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from breedclf.api.training_job import training_spec
from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin
from breedclf.errors import BreedclfError, JobError
from breedclf.jobs import (
    Backend,
    JobDescription,
    JobSpec,
    JobStatus,
    JoiningBackend,
    MetricRecord,
    TuningBackend,
    iterate_lines,
    metric_lines,
    pauses,
    seconds_until_complete,
)
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.runtime.process_signals import ending_at_once
from breedclf.tuning.packed import STUDY_OUTPUT, packed_pairs, study_from_lines
from breedclf.tuning.scores_file import SCORES_VARIABLE, read_scores
from breedclf.tuning.search import Search, TrialSnapshot
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import own_code_in
from breedclf.tuning.study import Study, StudyFolder

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages

log: logging.Logger = logging.getLogger(__name__)

OnChange = Callable[[Study], None]

_PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS = 1.5, 0.25
_JOBS_GO_ON = "its running jobs go on"


class Driver(Protocol):
    """Runs one study; the caller holds the study's lock. `goes_on` says what happens to it when nobody waits."""

    @property
    def goes_on(self) -> str: ...

    def begin(self, on_change: OnChange) -> Study:
        """Start what can be started now; a search in this process runs to its end."""

    def carry_on(self, on_change: OnChange) -> Study:
        """Continue the search to its end."""

    def artifact(self, trial: str) -> Path:
        """The model directory of a completed trial.

        Raises:
            BreedclfError: there is none.
        """

    def job(self, trial: str) -> str | None:
        """The name of the job that ran a trial; None when it ran in this process."""


class InProcessDriver:
    """Trials one after the other in this process."""

    goes_on = "its trials so far are kept"

    def __init__(self, folder: StudyFolder, images: GivenImages | None = None) -> None:
        self._folder = folder
        self._images = images

    def begin(self, on_change: OnChange) -> Study:
        return self._stopped(on_change) if self._folder.stop_file.exists() else self.carry_on(on_change)

    def _stopped(self, on_change: OnChange) -> Study:
        """End a search that no process runs, without loading what training needs."""
        study = self._folder.load().ended_unexpectedly("Stopped", "stopped by the user")
        self._folder.save(study)
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        with ending_at_once():
            from breedclf.tuning.in_process import run_in_process

        check_one_origin(self._folder.load().request.config, self._images)
        return run_in_process(self._folder, on_change, self._images)

    def artifact(self, trial: str) -> Path:
        from breedclf.tuning.in_process import kept_model

        return kept_model(self._folder, trial)

    def job(self, trial: str) -> str | None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class JobsDriver:
    """Each trial is a job of a backend."""

    folder: StudyFolder
    backend: Backend
    clock: Clock = SYSTEM_CLOCK
    goes_on: ClassVar[str] = _JOBS_GO_ON

    def begin(self, on_change: OnChange) -> Study:
        study = self._search().step()
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        study = _repeated(self._search().step, on_change, self.backend, self.clock)
        _join(self.backend, [run.name for run in study.runs])
        return study

    def artifact(self, trial: str) -> Path:
        return self.backend.artifact(trial)

    def job(self, trial: str) -> str | None:
        return trial

    def _search(self) -> Search:
        request = self.folder.load().request
        return Search(self.folder, _JobRunner(self.backend, request), self.clock.monotonic)


@dataclass(frozen=True)
class PackedDriver:
    """The whole search is one job, which runs its trials one after the other."""

    folder: StudyFolder
    backend: Backend
    clock: Clock = SYSTEM_CLOCK
    goes_on: ClassVar[str] = _JOBS_GO_ON

    def begin(self, on_change: OnChange) -> Study:
        study = self.folder.load()
        if _describe(self.backend, packed_name(study)) is None:
            self.backend.submit(_packed_spec(study))
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        study = self.begin(on_change)
        if not study.is_over:
            study = _repeated(self._step, on_change, self.backend, self.clock)
        _join(self.backend, [packed_name(study)])
        return study

    def artifact(self, trial: str) -> Path:
        study = self.folder.load()
        best = study.best
        if best is None or best.name != trial:
            raise JobError(f"the model of {trial} wasn't saved: a packed search saves only that of its best trial")
        return self.backend.artifact(packed_name(study))

    def job(self, trial: str) -> str | None:  # noqa: ARG002
        return packed_name(self.folder.load())

    def _step(self) -> Study:
        study = self.folder.load()
        if self.folder.stop_file.exists():
            self.backend.stop(packed_name(study))
        now = self._snapshot(study)
        if now != study:
            self.folder.save(now)
        return now

    def _snapshot(self, study: Study) -> Study:
        """The study as the job reported it so far."""
        name = packed_name(study)
        description = self.backend.describe(name)  # first, so that everything written until now is read below
        self.clock.sleep(seconds_until_complete(self.backend, description, self.clock.time()))
        reported = study_from_lines(iterate_lines(self._log(name)), study)
        if not description.status.is_final:
            return reported.model_copy(update={"status": "InProgress", "reason": None})
        with contextlib.suppress(OSError, BreedclfError):
            written = (self.backend.output(name) / STUDY_OUTPUT).read_text(encoding="utf-8")
            reported = study_from_lines([written], reported)
        return (
            reported
            if reported.is_over
            else reported.ended_unexpectedly(str(description.status), description.failure_reason)
        )

    def _log(self, name: str) -> Iterator[str]:
        text, position = self.backend.read_log(name, 0)
        while text:
            yield text
            text, position = self.backend.read_log(name, position)


class _JobRunner:
    """Trials as jobs."""

    def __init__(self, backend: Backend, request: SearchRequest) -> None:
        self._backend = backend
        self._request = request

    def submit(self, name: str, config: TrainingConfig, *, scored: bool) -> None:
        spec = _spec(self._request, config, name)
        if scored:
            spec = spec.replace(environment={**spec.environment, SCORES_VARIABLE: "1"})
        if isinstance(self._backend, TuningBackend):
            spec = self._backend.parallel_spec(spec, self._request.max_parallel_jobs)
        self._backend.submit(spec)

    def snapshot(self, name: str) -> TrialSnapshot | None:
        description = _describe(self._backend, name)
        if description is None:
            return None
        objective = self._request.objective
        records = self._backend.metric_history(name)
        return TrialSnapshot(
            status=description.status.value,
            history=objective_history(records, objective),
            objective=description.metrics.get(metric_lines.best(objective)),
            metrics=best_epoch(records, description.metrics.get("best_epoch")),
            started=description.started,
            ended=description.ended,
            failure_reason=description.failure_reason,
            note=_last_message(description) if description.status is JobStatus.STOPPED else None,
            lost=description.lost,
        )

    def stop(self, name: str) -> None:
        self._backend.stop(name)

    def artifact(self, name: str) -> Path:
        return self._backend.artifact(name)

    def valid_scores(self, name: str) -> Sequence[float] | None:
        try:
            return read_scores(self._backend.output(name))
        except JobError as error:
            log.warning("%s has no output, so it isn't compared: %s", name, error)
            return None

    def restore_model(self, name: str, config: TrainingConfig) -> None:
        """Do nothing: the model of each job is kept."""


def _repeated(step: Callable[[], Study], on_change: OnChange, backend: Backend, clock: Clock) -> Study:
    """Repeat a step until the study is over, with pauses that grow while no trial changes."""
    runs: object = None
    waits = _pauses(backend)
    while True:
        study = step()
        on_change(study)
        if study.is_over:
            return study
        if study.runs != runs:
            runs, waits = study.runs, _pauses(backend)
        clock.sleep(next(waits))


def _pauses(backend: Backend) -> Iterator[float]:
    return pauses(backend, growth=_PAUSE_GROWTH, longest_seconds=_LONGEST_PAUSE_SECONDS)


def _describe(backend: Backend, name: str) -> JobDescription | None:
    """The job, or None if and only if there is none of that name.

    Raises:
        BreedclfError: the backend can't be reached.
    """
    try:
        return backend.describe(name)
    except JobError:
        if any(job.name == name for job in backend.list_jobs()):
            raise
        return None


def _join(backend: Backend, names: Sequence[str]) -> None:
    """Leave no process behind if jobs have processes on this machine."""
    if not isinstance(backend, JoiningBackend):
        return
    for name in names:
        with contextlib.suppress(JobError):  # a trial that could not be submitted has no job
            backend.join(name)


def _last_message(description: JobDescription) -> str | None:
    """Why a job was stopped: the last message."""
    return next((each.message for each in reversed(description.transitions) if each.message), None)


def objective_history(records: Sequence[MetricRecord], objective: str) -> tuple[float, ...]:
    """The objective of each epoch, as reported."""
    return tuple(record.values[objective] for record in records if objective in record.values)


def best_epoch(records: Sequence[MetricRecord], epoch: float | None) -> dict[str, float]:
    """The metrics that were reported for that epoch."""
    for record in records:
        if epoch is not None and record.values.get("epoch") == epoch:
            return {name: value for name, value in record.values.items() if _is_result(name)}
    return {}


def _is_result(name: str) -> bool:
    return name not in ("epoch", "images_per_second") and not name.startswith("best_")


def packed_name(study: Study) -> str:
    """The name of the job that runs all trials of a packed search."""
    return f"{study.request.name}-all-{study.key}"


def _packed_spec(study: Study) -> JobSpec:
    """One job with the search's settings among its hyperparameters."""
    spec = search_spec(study.request, packed_name(study))
    return spec.replace(hyperparameters={**spec.hyperparameters, **packed_pairs(study)})


def search_spec(request: SearchRequest, name: str) -> JobSpec:
    """A job that can run each trial of the search, tagged with the search's name."""
    return _spec(request, request.shared_config, name, request.weights)


def _spec(
    request: SearchRequest, config: TrainingConfig, name: str, weights: Mapping[str, str] | None = None
) -> JobSpec:
    """The job of one trial, or of several with the weights of each network, tagged with the search's name."""
    spec = training_spec(config, name=name, more_code=own_code_in(request.space), weights=weights).replace(
        tags={"breedclf-tuning": request.name}
    )
    limit = request.max_seconds_per_job
    return spec if limit is None else spec.replace(max_runtime_seconds=limit)
