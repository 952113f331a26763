"""`BestTrial`: the winner of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from breedclf.api.tuning_drivers import Driver
from breedclf.api.tuning_output import failure_message
from breedclf.config import TrainingConfig
from breedclf.errors import JobError, JobFailedError
from breedclf.jobs import Backend
from breedclf.jobs.handle import Job
from breedclf.tuning.space import Values
from breedclf.tuning.study import Study


@dataclass(frozen=True, repr=False)
class BestTrial:
    """The completed trial with the best objective, or the best confirmed one.

    Pass `config` to a Trainer, a ProfilingSession or another TuningJob; `job` is the job that ran the trial, None if it
    ran in this process. `level_with` names the trials that can't be distinguished from it, once the best trials have
    been run again with other seeds (`confirm_seeds`); otherwise it is None.
    """

    name: str
    config: TrainingConfig
    hyperparameters: Values
    objective: float
    metrics: dict[str, float]
    job: Job | None
    level_with: tuple[str, ...] | None
    _artifact: Callable[[], Path] = field(repr=False)

    def __repr__(self) -> str:
        return f"BestTrial({self.name!r}, {self.config.objective} {self.objective:.4f}, {dict(self.hyperparameters)})"

    @property
    def artifact(self) -> Path:
        """Its model directory, fetched if needed.

        Raises:
            BreedclfError: it no longer exists.
        """
        return self._artifact()


def best_of(study: Study, driver: Driver, backend: Backend | None) -> BestTrial:
    """The best trial of a study that this driver runs.

    Raises:
        JobError: none has completed yet.
        JobFailedError: the search ended without one.
    """
    trial = study.best
    if trial is None or trial.objective is None:
        if study.is_over:
            raise JobFailedError(failure_message(study))
        raise JobError(f"no trial of tuning job {study.request.name!r} has completed yet: wait() for it")
    job_name = driver.job(trial.name)
    return BestTrial(
        name=trial.name,
        config=study.request.config_of(trial),
        hyperparameters=trial.hyperparameters,
        objective=trial.objective,
        metrics=trial.metrics,
        job=None if job_name is None or backend is None else Job(job_name, backend),
        level_with=None if study.confirmation is None else study.confirmation.level_with,
        _artifact=partial(driver.artifact, trial.name),
    )
