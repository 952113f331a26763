"""`TuningJob`: a space of hyperparameters in, the best configuration and its model out."""

from __future__ import annotations

import logging
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.api.native_tuning import NativeDriver, adopt, native_search
from breedclf.api.tuning_drivers import Driver, InProcessDriver, JobsDriver, OnChange, PackedDriver
from breedclf.backends.common.folder import home_folder
from breedclf.backends.registry import backend_named
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, JobError, JobFailedError, MissingExtraError
from breedclf.files.disk import write_output
from breedclf.files.paths import user_path
from breedclf.jobs import Backend, remote_address
from breedclf.jobs.handle import Clock, Job
from breedclf.tuning.native import NativeTuning
from breedclf.tuning.space import Parameter, Values
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Strategy
from breedclf.tuning.study import SearchRequest, Study, StudyFolder
from breedclf.tuning.table import LiveTable, rows_of, summary_line
from breedclf.tuning.trials import Trial

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

STUDIES = "tuning"
_SECOND_INTERRUPT_SECONDS = 2.0
_PLACES = ("data", "output", "cache_dir")

Progress = bool | Callable[[Study], None]


@dataclass(frozen=True)
class BestTrial:
    """The completed trial with the best objective.

    `config` goes straight into a Trainer, a ProfilingSession or another TuningJob; `job` is the job that ran it, None
    when it ran in this process.
    """

    name: str
    config: TrainingConfig
    hyperparameters: Values
    objective: float
    metrics: dict[str, float]
    job: Job | None
    _artifact: Callable[[], Path] = field(repr=False)

    @property
    def artifact(self) -> Path:
        """Its model folder, fetched if need be.

        Raises:
            BreedclfError: it isn't there any more.
        """
        return self._artifact()


class TuningJob:
    """Looks for the hyperparameters with the best objective, and survives whatever ends the process that looks.

    Without a back end the trials run in this process one after the other, which is the quickest way on one machine: all
    is loaded once, and the frozen part runs once. With one, each trial is a job; `packed=True` makes the whole search
    one job. The same seed gives the same trials everywhere.

    Args:
        config: the settings that all trials share.
        space: what is tried: a `Continuous`, `Integer` or `Categorical` by field of the config.
        objective: what trials are compared by: "valid_loss" (the smaller the better) or "valid_accuracy".
        strategy: "grid" tries every combination, "random" draws, "bayesian" learns from the trials before.
        max_jobs: how many trials there are at most; 10 by default, and the whole grid for "grid".
        max_parallel_jobs: how many run at a time, with a back end; the bayesian strategy looks that far back.
        early_stopping: whether a trial is stopped that is worse than the median of running averages of earlier ones.
        seed: of the search; the trainings' is the config's.
        backend: where the jobs run, or its name; None for this process.
        packed: whether the whole search is one job.
        name: at most 32 letters, digits and hyphens; made up when not given.
        grid_points: how many values of each range "grid" tries.
        target: an objective that is good enough to end the search.
        not_improving: so many trials in a row without a new best end the search.
        max_seconds: how long the search may work.
        max_seconds_per_job: how long one job may run.
        home: the folder of tuning jobs; by default that of the back end, `BREEDCLF_HOME`, or `.breedclf` here.

    Raises:
        ConfigError: something doesn't fit, in the words of SageMaker's tuning jobs; no job was started.

    Example:
        >>> from breedclf import Categorical, Continuous
        >>> space = {"learning_rate": Continuous(0.005, 0.01), "batch_size": Categorical(32, 64)}
        >>> tuning = TuningJob(TrainingConfig(data="dogImages"), space, max_jobs=8)
        >>> tuning.run().wait().best.hyperparameters  # doctest: +SKIP
        {'learning_rate': 0.0094, 'batch_size': 32}
    """

    def __init__(
        self,
        config: TrainingConfig,
        space: Mapping[str, Parameter],
        objective: str = "valid_loss",
        *,
        strategy: Strategy = "bayesian",
        max_jobs: int | None = None,
        max_parallel_jobs: int = 1,
        early_stopping: bool = False,
        seed: int = 0,
        backend: Backend | str | None = None,
        packed: bool = False,
        name: str | None = None,
        grid_points: int | None = None,
        target: float | None = None,
        not_improving: int | None = None,
        max_seconds: float | None = None,
        max_seconds_per_job: int | None = None,
        home: str | Path | None = None,
        clock: Clock = time,
    ) -> None:
        backend = backend_named(backend) if isinstance(backend, str) else backend
        self._request = SearchRequest(
            name=name or _new_name(),
            config=_with_whole_paths(config),
            space=dict(space),
            objective=objective,
            strategy=strategy,
            max_jobs=max_jobs,
            max_parallel_jobs=max_parallel_jobs,
            early_stopping=early_stopping,
            seed=seed,
            grid_points=grid_points,
            completion=Completion(target=target, not_improving=not_improving, max_seconds=max_seconds),
            max_seconds_per_job=max_seconds_per_job,
            packed=packed and backend is not None,
        )
        self._set_place(backend, home, clock)

    @classmethod
    def attach(
        cls, name: str, *, backend: Backend | str | None = None, home: str | Path | None = None, clock: Clock = time
    ) -> Self:
        """The tuning job of this name, begun by any process; `wait()` carries it on.

        One that SageMaker runs by itself is found from any machine: its settings are read back from the service.

        Raises:
            ConfigError: there is none, or it runs on another back end.
        """
        backend = backend_named(backend) if isinstance(backend, str) else backend
        folder = StudyFolder(_studies(backend, home) / name)
        if isinstance(backend, NativeTuning) and not folder.exists():
            adopt(folder, name, backend, clock)
        study = folder.load()
        wanted, given = study.backend, None if backend is None else backend.name
        if wanted != given:
            shown = "without a back end" if wanted is None else f"on back end {wanted!r}"
            raise ConfigError(f"tuning job {name!r} runs {shown}: attach with that one, not {given!r}")
        job = cls.__new__(cls)
        job._request = study.request
        job._set_place(backend, home, clock)
        return job

    @staticmethod
    def look(name: str, *, home: str | Path | None = None) -> Study:
        """What is known of the tuning job of this name, wherever it runs.

        Raises:
            ConfigError: there is none.
        """
        return StudyFolder(_studies(None, home) / name).load()

    def __repr__(self) -> str:
        return f"TuningJob({self.name!r})"

    @property
    def name(self) -> str:
        return self._request.name

    @property
    def status(self) -> str:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return self.study.status

    @property
    def study(self) -> Study:
        """Everything known about the search, as it was written last."""
        return self._folder.load()

    @property
    def trials(self) -> list[Trial]:
        """Every trial so far, in the order of their starts; failed ones stay."""
        return list(self.study.trials)

    @property
    def best(self) -> BestTrial:
        """The best of the completed trials, the earliest of equals.

        Raises:
            JobError: none has completed yet.
            JobFailedError: none ever will.
        """
        study = self.study
        trial = study.best
        if trial is None or trial.objective is None:
            if study.is_over:
                raise JobFailedError(_failure(study))
            raise JobError(f"no trial of tuning job {self.name!r} has completed yet: wait() for it")
        job_name = self._driver.job(trial.name)
        return BestTrial(
            name=trial.name,
            config=study.request.config_of(trial),
            hyperparameters=trial.hyperparameters,
            objective=trial.objective,
            metrics=trial.metrics,
            job=None if job_name is None or self._backend is None else Job(job_name, self._backend),
            _artifact=lambda: self._driver.artifact(trial.name),
        )

    def run(self, *, progress: Progress = False) -> Self:
        """Begin the search and return: with a back end at once, without one when the search has ended.

        Jobs that were started run on by themselves; the next ones are started by `wait()`, here or in another process.

        Args:
            progress: True shows a table on stderr; a function is called with the study at each change instead.

        Raises:
            ConfigError: there is a tuning job of that name.
            DataError: the pictures can't be used.
        """
        valid_count = _valid_count(self._request.config)
        with self._folder.locked():
            if self._folder.exists():
                raise ConfigError(
                    f"there is a tuning job {self.name!r} already: carry it on with "
                    f"TuningJob.attach({self.name!r}, ...).wait() or `breedclf tune --resume {self.name}`, or take "
                    "another name"
                )
            study = Study(
                request=self._request,
                key=secrets.token_hex(4),
                created=self._clock.time(),
                backend=None if self._backend is None else self._backend.name,
                valid_count=valid_count,
            )
            self._folder.save(study)
            self._drive(self._driver.begin, progress)
        return self

    def wait(self, *, progress: Progress = False, check: bool = True) -> Self:
        """Carry the search on to its end.

        Ctrl-C ends the waiting: jobs that run go on, and `TuningJob.attach(name).wait()` takes up from there. A second
        one, within two seconds, stops every job.

        Args:
            progress: as for `run`.
            check: whether a search without a completed trial raises.

        Raises:
            ConfigError: another process carries it on already.
            JobFailedError: no trial completed; the message says why.
        """
        if not self.study.is_over:
            with self._folder.locked():
                self._drive(self._driver.carry_on, progress)
        study = self.study
        if check and study.status == "Failed":
            raise JobFailedError(_failure(study))
        return self

    def stop(self) -> None:
        """Ask every running job to stop, and end the search; the trials so far are kept."""
        self._folder.load()
        self._folder.stop_file.touch()
        try:
            with self._folder.locked():
                if not self.study.is_over:
                    self._driver.begin(lambda _study: None)
        except ConfigError:
            log.info("the process that carries %s on stops it", self.name)

    def rows(self) -> list[dict[str, Any]]:
        """One row a trial, with the columns of SageMaker's analytics; times are seconds since 1970."""
        return rows_of(self.study)

    def dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas table; times are UTC.

        Raises:
            MissingExtraError: pandas isn't installed; `rows()` gives the same without it.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "dataframe() needs pandas, which is not installed: pip install pandas, or use rows()"
            ) from error
        frame = pandas.DataFrame(self.rows())
        for column in ("TrainingStartTime", "TrainingEndTime"):
            if column in frame:
                frame[column] = pandas.to_datetime(frame[column], unit="s", utc=True)
        return frame

    def report(self, path: str | Path = "tuning.html") -> Path:
        """Write a page about the search: history, parallel coordinates, importance, and every training job."""
        from breedclf.tuning.report import render_report

        target = user_path(path, "path")
        write_output(target, render_report(self.study, made_at=datetime.now(UTC)))
        return target

    def plan(self, *, dry_run: bool = False) -> Any:
        """What the search would make, cost at most and need, on a back end that is paid for; nothing is started.

        Args:
            dry_run: whether the exact requests are printed, too.

        Raises:
            ConfigError: the back end costs nothing to plan, or `max_cost` is set and it may cost more.
        """
        plan = getattr(self._backend, "plan", None)
        if plan is None:
            raise ConfigError("plan() tells what a paid back end would cost; this search runs on none")
        return plan(native_search(self._request), dry_run=dry_run)

    def to_sagemaker(self) -> Any:
        """The SageMaker SDK's own HyperparameterTuner, set as this search is, for who goes on with the SDK.

        What the trainings read is uploaded. Start it with `.tune(job_name=..., wait=False)`; its trials are the SDK's.

        Raises:
            ConfigError: the search runs on another back end, or the SDK's tuner can't carry a part of it.
            MissingExtraError: the SDK isn't installed.
        """
        make = getattr(self._backend, "sdk_tuner", None)
        if make is None:
            raise ConfigError("to_sagemaker() needs backend=SageMakerBackend(...): this search runs on another")
        return make(native_search(self._request))

    def _set_place(self, backend: Backend | None, home: str | Path | None, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._folder = StudyFolder(_studies(backend, home) / self._request.name)
        self._driver = _driver(self._folder, backend, self._request.packed, clock)

    def _drive(self, act: Callable[[OnChange], Study], progress: Progress) -> None:
        try:
            act(_on_change(progress))
        except KeyboardInterrupt:
            self._detach()
            raise

    def _detach(self) -> None:
        """Say how to come back; stop everything when Ctrl-C comes again."""
        study = self.study
        if study.is_over:
            return
        _tell(
            f"\n{summary_line(study)}: {self._driver.goes_on}; carry it on with "
            f"TuningJob.attach({self.name!r}, ...).wait() or "
            f"`breedclf tune --resume {self.name}`; Ctrl-C again now to stop it"
        )
        try:
            self._clock.sleep(_SECOND_INTERRUPT_SECONDS)
        except KeyboardInterrupt:
            _tell(f"stopping all jobs of {self.name}")
            self._folder.stop_file.touch()
            self._driver.carry_on(lambda _study: None)


def _driver(folder: StudyFolder, backend: Backend | None, packed: bool, clock: Clock) -> Driver:
    if backend is None:
        return InProcessDriver(folder)
    if packed:
        return PackedDriver(folder, backend, clock)
    return (
        NativeDriver(folder, backend, clock)
        if isinstance(backend, NativeTuning)
        else JobsDriver(folder, backend, clock)
    )


def _studies(backend: Backend | None, home: str | Path | None) -> Path:
    return home_folder(getattr(backend, "home", None) if home is None else home) / STUDIES


def _new_name() -> str:
    return f"tune-{datetime.now(UTC):%y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _with_whole_paths(config: TrainingConfig) -> TrainingConfig:
    """Paths that mean the same wherever the search is carried on."""
    given = {name: getattr(config, name) for name in _PLACES if name in config.model_fields_set}
    changes = {name: path if path is None or remote_address(path) else path.absolute() for name, path in given.items()}
    if Path(config.weights).is_file():
        changes["weights"] = str(Path(config.weights).absolute())
    return config.replace(**{name: value for name, value in changes.items() if value is not None})


def _valid_count(config: TrainingConfig) -> int | None:
    """How many pictures judge the trials; also finds out before any job whether there are any.

    Raises:
        DataError: the folder can't be used.
    """
    if str(config.data).startswith("s3:"):
        return None
    from breedclf.data.image_folder import training_images

    return len(training_images(config).split("valid"))


def _failure(study: Study) -> str:
    reasons = [trial.failure_reason for trial in study.trials if trial.failure_reason]
    first = f"; the first failure: {reasons[0]}" if reasons and reasons[0] not in (study.reason or "") else ""
    return (
        f"tuning job {study.request.name!r}: none of its {len(study.trials)} trials completed ({study.reason}){first}"
    )


def _on_change(progress: Progress) -> OnChange:
    if callable(progress):
        return progress
    return LiveTable(sys.stderr, in_place=sys.stderr.isatty()) if progress else lambda _study: None


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
