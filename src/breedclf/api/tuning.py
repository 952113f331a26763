"""`TuningJob`: a search space in, the best settings and their model out."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.api.best_trial import BestTrial
from breedclf.api.native_tuning import adopt, native_search
from breedclf.api.search_setup import (
    check_networks,
    driver_for,
    new_study_name,
    search_request,
    studies_folder,
    valid_count,
)
from breedclf.api.tuning_drivers import OnChange
from breedclf.api.tuning_output import Progress, change_handler, dataframe_of, failure_message
from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin, refuse_images
from breedclf.errors import ConfigError, JobError, JobFailedError
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.jobs import Backend, PlanningBackend, detach, print_on_stderr
from breedclf.jobs.handle import Job
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.text.html_repr import html_repr
from breedclf.tuning.native import NativeTuning, SdkTuner, SdkTuning
from breedclf.tuning.space import ParameterRange
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Strategy
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.table import rows_of, summary_line
from breedclf.tuning.trials import Trial

if TYPE_CHECKING:
    import pandas

    from breedclf.data.given_images import GivenImages
    from breedclf.jobs.plan import Plan

log: logging.Logger = logging.getLogger(__name__)


class TuningJob:
    """Searches for the hyperparameters with the best objective; a search survives the end of this process.

    Without a backend the trials run in this process one after the other, which is the fastest way on one machine:
    everything is loaded once, and backbone features are computed once. With a backend, each trial is a job;
    `packed=True` makes the whole search one job. The same seed gives the same trials everywhere.

    Args:
        config: the settings shared by all trials.
        space: what to try: a `Continuous`, `Integer` or `Categorical` per setting.
        objective: the metric to compare trials by: "valid_loss" (lower is better) or "valid_accuracy".
        strategy: "grid" tries every combination, "random" samples, "bayesian" learns from previous trials.
        max_jobs: maximum number of trials; 10 by default, or the whole grid for "grid".
        max_parallel_jobs: how many run at a time, with a backend; "bayesian" then ignores that many recent trials.
        early_stopping: whether to stop trials that are worse than the median running average of earlier ones.
        seed: of the search; the training seed is that of the config.
        backend: where the jobs run: a backend, or its name; in this process if None.
        packed: whether to run the whole search as one job.
        name: at most 32 letters, digits and hyphens; made from the time if not given.
        grid_points: how many values of each range "grid" tries.
        target: end the search at this objective.
        not_improving: end the search after this many trials in a row without improvement.
        max_seconds: end the search after this many seconds of work.
        max_seconds_per_job: stop a job after this many seconds.
        confirm_seeds: run the four best trials again with this many other training seeds, at least two, and name those
            that can't be distinguished from the best (`best.level_with`); 0 doesn't.
        home: the folder of tuning jobs; defaults to that of the backend, `BREEDCLF_HOME`, or `.breedclf`.
        images: labeled images to train on, in place of the folder `config.data`; only without a backend.
        weights: a file or a name of weights for each architecture in the space; by default that of the config, or the
            default weights of each.

    Raises:
        ConfigError: an argument is wrong or doesn't fit the others; no job was started.

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
        space: Mapping[str, ParameterRange],
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
        confirm_seeds: int = 0,
        home: StrPath | None = None,
        images: GivenImages | None = None,
        weights: Mapping[str, StrPath] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_one_origin(config, images)
        backend = None if backend is None else backend_of(backend)
        self._request = search_request(
            name=name or new_study_name(),
            config=config,
            space=space,
            weights=weights,
            objective=objective,
            strategy=strategy,
            max_jobs=max_jobs,
            max_parallel_jobs=max_parallel_jobs,
            early_stopping=early_stopping,
            seed=seed,
            grid_points=grid_points,
            completion=Completion(target=target, not_improving=not_improving, max_seconds=max_seconds),
            max_seconds_per_job=max_seconds_per_job,
            confirm_seeds=confirm_seeds,
            packed=packed and backend is not None,
        )
        self._set_up(backend, home, clock, images)

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        backend: Backend | str | None = None,
        home: StrPath | None = None,
        clock: Clock = SYSTEM_CLOCK,
        images: GivenImages | None = None,
    ) -> Self:
        """The tuning job of this name, started by any process; `wait()` continues it.

        A search that SageMaker runs is found from any machine: its settings are read from the service. To continue
        a search on images that a program gave, give the same `images` again.

        Raises:
            ConfigError: there is none, or it runs on another backend.
        """
        backend = None if backend is None else backend_of(backend)
        folder = StudyFolder(studies_folder(backend, home) / name)
        if isinstance(backend, NativeTuning) and not folder.exists():
            adopt(folder, name, backend, clock)
        study = folder.load()
        expected, actual = study.backend, None if backend is None else backend.name
        if expected != actual:
            shown = "without a backend" if expected is None else f"on backend {expected!r}"
            raise ConfigError(f"tuning job {name!r} runs {shown}: attach with that one, not {actual!r}")
        job = cls.__new__(cls)
        job._request = study.request
        job._set_up(backend, home, clock, images)
        return job

    @staticmethod
    def look(name: str, *, home: StrPath | None = None) -> Study:
        """A snapshot of the tuning job of this name, wherever it runs.

        Raises:
            ConfigError: there is none.
        """
        return StudyFolder(studies_folder(None, home) / name).load()

    def __repr__(self) -> str:
        return f"TuningJob({self.name!r})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.tuning.view import study_view

        return study_view(self.study)

    @property
    def name(self) -> str:
        return self._request.name

    @property
    def status(self) -> str:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return self.study.status

    @property
    def study(self) -> Study:
        """Everything known about the search, as saved last."""
        return self._folder.load()

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, in the order they started, failed ones included."""
        return list(self.study.trials)

    @property
    def best(self) -> BestTrial:
        """The best completed trial, the earliest if several are equal; after confirmation, its best.

        Raises:
            JobError: none has completed yet.
            JobFailedError: the search ended without one.
        """
        study = self.study
        trial = study.best
        if trial is None or trial.objective is None:
            if study.is_over:
                raise JobFailedError(failure_message(study))
            raise JobError(f"no trial of tuning job {self.name!r} has completed yet: wait() for it")
        job_name = self._driver.job(trial.name)
        return BestTrial(
            name=trial.name,
            config=study.request.config_of(trial),
            hyperparameters=trial.hyperparameters,
            objective=trial.objective,
            metrics=trial.metrics,
            job=None if job_name is None or self._backend is None else Job(job_name, self._backend),
            level_with=None if study.confirmation is None else study.confirmation.level_with,
            _artifact=partial(self._driver.artifact, trial.name),
        )

    def run(self, *, progress: Progress = None) -> Self:
        """Start the search and return: at once with a backend, or when the search has ended without one.

        Running jobs continue by themselves; `wait()`, in this or another process, starts the next ones.

        Args:
            progress: by default a table on a terminal, and a line per trial in a notebook or in the "breedclf" log;
                True shows it on stderr in any case, False shows nothing, and a function is called with the study at
                each change.

        Raises:
            ConfigError: there is a tuning job of this name already, or a network in the space doesn't exist.
            DataError: the images can't be used.
            MissingExtraError: a network in the space is timm's, and timm isn't installed.
            WeightsError: a network in the space has no such weights.
        """
        check_networks(self._request)
        valid_images = valid_count(self._request.config, self._images)
        with self._folder.locked():
            if self._folder.exists():
                raise ConfigError(
                    f"there is a tuning job {self.name!r} already: continue it with "
                    f"TuningJob.attach({self.name!r}, ...).wait() or `breedclf tune --resume {self.name}`, or choose "
                    "another name"
                )
            study = Study(
                request=self._request,
                key=secrets.token_hex(4),
                created=self._clock.time(),
                backend=None if self._backend is None else self._backend.name,
                valid_count=valid_images,
            )
            self._folder.save(study)
            self._drive(self._driver.begin, progress)
        return self

    def wait(self, *, progress: Progress = None, check: bool = True) -> Self:
        """Continue the search to its end.

        Ctrl-C stops waiting, but not the running jobs, and `TuningJob.attach(name).wait()` continues from there. A
        second Ctrl-C within two seconds stops all jobs.

        Args:
            progress: as for `run`.
            check: whether to raise if no trial completed.

        Raises:
            ConfigError: another process is running the search already.
            JobFailedError: no trial completed; the message says why.
        """
        if not self.study.is_over:
            with self._folder.locked():
                self._drive(self._driver.carry_on, progress)
        study = self.study
        if check and study.status == "Failed":
            raise JobFailedError(failure_message(study))
        return self

    def stop(self) -> None:
        """Ask all running jobs to stop, and end the search; finished trials stay."""
        self._folder.load()
        self._folder.stop_file.touch()
        try:
            with self._folder.locked():
                if not self.study.is_over:
                    self._driver.begin(lambda _study: None)
        except ConfigError:
            log.info("%s will be stopped by the process that runs it", self.name)

    def rows(self) -> list[dict[str, Any]]:
        """One row per trial, with the columns of SageMaker's analytics; times are seconds since 1970."""
        return rows_of(self.study)

    def dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas DataFrame; times are UTC.

        Raises:
            MissingExtraError: pandas isn't installed; `rows()` gives the same without it.
        """
        return dataframe_of(self.rows())

    def report(self, path: StrPath = "tuning.html") -> Path:
        """Write an HTML report: history, parallel coordinates, importance, and every training job."""
        from breedclf.tuning.report import render_report

        target = user_path(path, "path")
        write_output(target, render_report(self.study, made_at=datetime.now(UTC)))
        return target

    def plan(self, *, dry_run: bool = False) -> Plan:
        """What the search would create, cost at most and require on a paid backend; nothing is started.

        Args:
            dry_run: whether to print the exact requests, too.

        Raises:
            ConfigError: the backend is free, or `max_cost` is set and the search may cost more.
        """
        if not isinstance(self._backend, PlanningBackend):
            raise ConfigError("plan() estimates the cost of a paid backend; this search doesn't run on one")
        plan: Plan = self._backend.plan(native_search(self._request), dry_run=dry_run)
        return plan

    def to_sagemaker(self) -> SdkTuner:
        """The SageMaker SDK's own HyperparameterTuner with the settings of this search, to continue with the SDK.

        Inputs are uploaded. Start it with `.tune(job_name=..., wait=False)`; then its trials belong to the SDK.

        Raises:
            ConfigError: the search runs on another backend, or the SDK's tuner doesn't support a part of it.
            MissingExtraError: the SDK isn't installed.
        """
        if not isinstance(self._backend, SdkTuning):
            raise ConfigError("to_sagemaker() needs backend=SageMakerBackend(...): this search runs on another")
        return self._backend.sdk_tuner(native_search(self._request))

    def _set_up(
        self,
        backend: Backend | None,
        home: StrPath | None,
        clock: Clock,
        images: GivenImages | None,
    ) -> None:
        if backend is not None:
            refuse_images(images, "a backend")
        self._images = images
        self._backend = backend
        self._clock = clock
        self._folder = StudyFolder(studies_folder(backend, home) / self._request.name)
        packed, seeds = self._request.packed, self._request.confirm_seeds
        self._driver = driver_for(self._folder, backend, clock, images, packed=packed, confirm_seeds=seeds)

    def _drive(self, act: Callable[[OnChange], Study], progress: Progress) -> None:
        try:
            act(change_handler(progress))
        except KeyboardInterrupt:
            self._detach()
            raise

    def _detach(self) -> None:
        """Print how to come back; stop everything if Ctrl-C is pressed again."""
        detach(self._notice, self._stop_after_interrupt, self._clock)

    def _notice(self) -> str | None:
        study = self.study
        if study.is_over:
            return None
        return (
            f"\n{summary_line(study)}: {self._driver.goes_on}; continue with "
            f"TuningJob.attach({self.name!r}, ...).wait() or `breedclf tune --resume {self.name}`; "
            "press Ctrl-C again now to stop it"
        )

    def _stop_after_interrupt(self) -> None:
        print_on_stderr(f"stopping all jobs of {self.name}")
        self._folder.stop_file.touch()
        self._driver.carry_on(lambda _study: None)
