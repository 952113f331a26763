"""A search as it stands on disk: the request and every trial, written whole after each change, and its lock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from filelock import FileLock, Timeout
from pydantic import Field, field_serializer, field_validator, model_validator

from breedclf.config import Settings, TrainingConfig
from breedclf.config.aliases import renamed_settings
from breedclf.errors import BreedclfError, ConfigError, DiskError
from breedclf.files.disk import refusal, write_atomic, writing
from breedclf.tuning.space import Space, checked_space, size
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Plan, Strategy, grid_size
from breedclf.tuning.trials import Direction, Status, Trial, best_trial, direction_of

SCHEMA_VERSION: Literal[1] = 1
DEFAULT_MAX_JOBS = 10
MAX_JOBS = 750  # the service's ceiling for a tuning job without a raised quota
MAX_STUDY_NAME_CHARS = 32
_LOCK_SECONDS = 1.0
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")


class SearchRequest(Settings):
    """Everything that decides a search; checked as a whole before the first job starts.

    Raises:
        ConfigError: a part is out of range, or parts don't fit together, in the words of SageMaker's tuning jobs.
    """

    name: str
    config: TrainingConfig
    space: Space
    objective: str = "valid_loss"
    strategy: Strategy = "bayesian"
    max_jobs: int | None = Field(default=None, ge=1, le=MAX_JOBS)
    max_parallel_jobs: int = Field(default=1, ge=1, le=100)
    early_stopping: bool = False
    seed: int = Field(default=0, ge=0, lt=2**63)
    grid_points: int | None = None
    completion: Completion = Completion()
    max_seconds_per_job: int | None = Field(default=None, ge=1)
    packed: bool = False

    @field_validator("config", mode="before")
    @classmethod
    def _saved_by_any_version(cls, value: object) -> object:
        return TrainingConfig.from_saved(value) if isinstance(value, dict) else value

    @field_validator("space", mode="before")
    @classmethod
    def _by_new_names(cls, value: object) -> object:
        return renamed_settings(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_study_name(self.name)
        direction_of(self.objective)
        checked_space(self.space, self.config)
        if self.strategy != "grid":
            if self.grid_points is not None:
                raise ConfigError(f"grid_points={self.grid_points} goes with strategy 'grid', not {self.strategy!r}")
            return self
        points = grid_size(self.space, self.grid_points)
        if self.max_jobs is not None and self.max_jobs != points:
            raise ConfigError(
                f"max_jobs={self.max_jobs}, but strategy 'grid' tries every one of the {points} combinations: leave "
                f"max_jobs out, set it to {points}, or take strategy 'random'"
            )
        if points > MAX_JOBS:
            raise ConfigError(f"the grid has {points} combinations; a tuning job takes at most {MAX_JOBS} trials")
        return self

    @field_serializer("config")
    def _every_setting(self, config: TrainingConfig) -> dict[str, object]:
        """All settings, so that a later version's defaults change nothing; a default output stays a default."""
        return config.model_dump(mode="json", exclude=set() if "output" in config.model_fields_set else {"output"})

    @property
    def direction(self) -> Direction:
        return direction_of(self.objective)

    @property
    def job_count(self) -> int:
        """How many trials there are to be at most."""
        if self.strategy == "grid":
            return grid_size(self.space, self.grid_points)
        wanted = DEFAULT_MAX_JOBS if self.max_jobs is None else self.max_jobs
        points = size(self.space)
        return wanted if points is None else min(wanted, points)

    @property
    def plan(self) -> Plan:
        return Plan(self.space, self.strategy, self.seed, self.max_parallel_jobs, self.grid_points, self.direction)

    def config_of(self, trial: Trial) -> TrainingConfig:
        """The settings that a trial trains with."""
        return self.config.replace(**{**trial.hyperparameters, "objective": self.objective})


class Study(Settings):
    """A search at one moment."""

    schema_version: Literal[1] = 1
    request: SearchRequest
    key: str = Field(pattern=r"[0-9a-f]{8}")
    created: float
    status: Status = "InProgress"
    reason: str | None = None
    active_seconds: float = 0.0
    trials: tuple[Trial, ...] = ()
    backend: str | None = None
    valid_count: int | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ("Completed", "Failed", "Stopped")

    @property
    def best(self) -> Trial | None:
        """The completed trial with the best objective, the earliest of equals."""
        return best_trial(self.trials, self.request.direction)

    def ended_without_word(self, job_status: str, reason: str | None) -> Study:
        """The study of a job that ended before its search did."""
        status: Status = "Stopped" if job_status == "Stopped" else "Failed"
        note = reason or f"the job ended as {job_status} before its search did"
        cut = {"status": status, "failure_reason": note}
        trials = tuple(trial if trial.is_over else trial.model_copy(update=cut) for trial in self.trials)
        return self.model_copy(update={"status": status, "reason": note, "trials": trials})

    def job_name(self, index: int, attempt: int = 1) -> str:
        """The job of a trial: the study's name, the trial's number from 1, and the study's key."""
        return f"{self.request.name}-{index + 1:03d}-{self.key}" + (f"-r{attempt}" if attempt > 1 else "")


def check_study_name(name: str) -> None:
    """Check the name of a tuning job.

    Raises:
        ConfigError: it is longer than 32 characters or holds others than letters, digits and inner hyphens.
    """
    if len(name) > MAX_STUDY_NAME_CHARS:
        raise ConfigError(
            f"tuning job name {name!r} has {len(name)} characters; at most {MAX_STUDY_NAME_CHARS} are taken"
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(f"tuning job name {name!r}: use letters, digits and, between them, hyphens")


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one search. Whoever holds its lock may change it; anybody may read it."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / "study.json"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def _remedy(self) -> str:
        return f"restore {self.file}, or delete its folder and search again"

    def exists(self) -> bool:
        return self.file.is_file()

    def load(self) -> Study:
        """Read the search.

        Raises:
            ConfigError: there is none, or a newer version wrote it.
            BreedclfError: its file is damaged.
        """
        try:
            document = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(self._unknown()) from error
        except (OSError, ValueError, RecursionError) as error:
            raise BreedclfError(
                f"the state of tuning job {self.path.name!r} can't be read: {error}; {self._remedy}"
            ) from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise ConfigError(
                f"tuning job {self.path.name!r} was written by a newer breedclf (state version {version}, known "
                f"{SCHEMA_VERSION}): upgrade breedclf"
            )
        try:
            return Study(**document)
        except (ConfigError, TypeError) as error:
            raise BreedclfError(
                f"the state of tuning job {self.path.name!r} is damaged: {error}; {self._remedy}"
            ) from error

    def save(self, study: Study) -> None:
        """Write the search whole, or leave the old state: no moment shows half of it.

        Raises:
            DiskError: the disk refuses.
        """
        text = json.dumps(study.model_dump(mode="json"))
        try:
            write_atomic(self.file, text, sync=True)
        except OSError as error:
            raise DiskError(
                f"the state of tuning job {self.path.name!r} can't be written to {self.file}: {refusal(error)}; its "
                "trials so far are kept: make room and attach again"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one process that drives this search.

        Raises:
            ConfigError: another one does.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # A tuner that was killed while it started a job leaves the lock, for an instant, to the child: wait for that.
        lock = FileLock(self.path / "tuner.lock", timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"tuning job {self.path.name!r} is being driven by another process: wait for it, or give this one "
                "another name"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _unknown(self) -> str:
        folder = self.path.parent
        known = sorted(each.parent.name for each in folder.glob("*/study.json")) if folder.is_dir() else []
        shown = f"known ones are {', '.join(known[:20])}" if known else "there is none yet"
        return f"no tuning job {self.path.name!r} in {folder}: {shown}"
