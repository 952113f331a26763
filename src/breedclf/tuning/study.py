"""The study: the state of a search on disk (request and all trials), written atomically, with a lock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from filelock import FileLock, Timeout
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from breedclf.config import Settings, TrainingConfig
from breedclf.config.aliases import renamed_settings
from breedclf.config.architectures import TIMM
from breedclf.config.base import explain
from breedclf.config.saved import from_saved
from breedclf.errors import BreedclfError, ConfigError, DiskError
from breedclf.files.disk import refusal, write_atomic, writing
from breedclf.tuning.confirmation import Confirmation, contenders
from breedclf.tuning.network_weights import checked_weights, searched_architectures
from breedclf.tuning.space import Space, checked_space, size, with_architecture_names, with_weights
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Plan, Strategy, grid_size
from breedclf.tuning.trials import Direction, SeedRun, Status, Trial, best_trial, direction_of

SCHEMA_VERSION: Literal[1] = 1
DEFAULT_MAX_JOBS = 10
MAX_JOBS = 750  # the service's ceiling for a tuning job without a raised quota
MAX_STUDY_NAME_CHARS = 32
MAX_CONFIRM_SEEDS = 100
_LOCK_SECONDS = 1.0
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")


class SearchRequest(Settings):
    """The complete definition of a search, validated before the first job starts.

    Raises:
        ConfigError: a value is out of range, or values are inconsistent.
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
    confirm_seeds: int = Field(default=0, ge=0, le=MAX_CONFIRM_SEEDS)
    weights: dict[str, str] = Field(default_factory=dict)

    @field_validator("config", mode="before")
    @classmethod
    def _saved_by_any_version(cls, value: object) -> object:
        return TrainingConfig.from_saved(value, "the saved search") if isinstance(value, dict) else value

    @field_validator("space", mode="before")
    @classmethod
    def _by_new_names(cls, value: object) -> object:
        return renamed_settings(value) if isinstance(value, dict) else value

    @field_validator("weights", mode="before")
    @classmethod
    def _with_usual_weights(cls, value: object) -> object:
        return checked_weights(value) if isinstance(value, dict) else value

    @field_validator("space")
    @classmethod
    def _with_usual_names(cls, space: Space) -> Space:
        return {
            name: with_architecture_names(parameter) if name == "architecture" else parameter
            for name, parameter in space.items()
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_study_name(self.name)
        direction_of(self.objective)
        checked_space(self.space, self.config, self.weights)
        self._check_confirmation()
        if self.strategy != "grid":
            if self.grid_points is not None:
                raise ConfigError(
                    f"grid_points={self.grid_points} is only valid with strategy 'grid', not {self.strategy!r}"
                )
            return self
        points = grid_size(self.space, self.grid_points)
        if self.max_jobs is not None and self.max_jobs != points:
            raise ConfigError(
                f"max_jobs={self.max_jobs}, but strategy 'grid' tries all {points} combinations: leave "
                f"max_jobs unset, set it to {points}, or use strategy 'random'"
            )
        if points > MAX_JOBS:
            raise ConfigError(f"the grid has {points} combinations; a tuning job is limited to {MAX_JOBS} trials")
        return self

    def _check_confirmation(self) -> None:
        if self.confirm_seeds == 1:
            raise ConfigError("confirm_seeds=1: the spread over seeds needs two or more, such as confirm_seeds=5")
        if self.confirm_seeds and "seed" in self.space:
            raise ConfigError(
                f"confirm_seeds={self.confirm_seeds} repeats the best trials with other seeds, and the search tries "
                "values of seed, too: remove one of them"
            )

    @model_serializer(mode="wrap")
    def _as_before_confirmations(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without confirmation, the same as versions write that didn't have it."""
        values: dict[str, object] = serialize(self)
        return values if self.confirm_seeds else {name: values[name] for name in values if name != "confirm_seeds"}

    @field_serializer("config")
    def _every_setting(self, config: TrainingConfig) -> dict[str, object]:
        """Save all settings, so that later versions' defaults don't matter, except a default output."""
        return config.model_dump(mode="json", exclude=set() if "output" in config.model_fields_set else {"output"})

    @property
    def direction(self) -> Direction:
        return direction_of(self.objective)

    @property
    def job_count(self) -> int:
        """The maximum number of trials."""
        if self.strategy == "grid":
            return grid_size(self.space, self.grid_points)
        limit = DEFAULT_MAX_JOBS if self.max_jobs is None else self.max_jobs
        points = size(self.space)
        return limit if points is None else min(limit, points)

    @property
    def plan(self) -> Plan:
        return Plan(self.space, self.strategy, self.seed, self.max_parallel_jobs, self.grid_points, self.direction)

    @property
    def shared_config(self) -> TrainingConfig:
        """The settings of a job that runs several trials; its network is one of theirs, of timm if any is."""
        names = sorted(searched_architectures(self.space), key=lambda name: not name.startswith(TIMM))
        values = with_weights({"architecture": names[0]}, self.weights) if names else {}
        return self.config.replace(**{**values, "objective": self.objective})

    @property
    def other_seeds(self) -> tuple[int, ...]:
        """The training seeds for confirming the best trials: those after the seed of the search's trials."""
        return tuple((self.config.seed + number) % 2**63 for number in range(1, self.confirm_seeds + 1))

    def config_of(self, trial: Trial) -> TrainingConfig:
        """The training settings of a trial, or of its run with another seed."""
        values = with_weights(trial.hyperparameters, self.weights) | {"objective": self.objective}
        return self.config.replace(**(values | {"seed": trial.seed} if isinstance(trial, SeedRun) else values))


class Study(Settings):
    """The state of a search.

    `seed_runs` are the best trials with other seeds, and `confirmation` is what came of them.
    """

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
    seed_runs: tuple[SeedRun, ...] = ()
    confirmation: Confirmation | None = None

    @model_serializer(mode="wrap")
    def _as_before_confirmations(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without confirmation, the same as versions write that didn't have it."""
        values: dict[str, object] = serialize(self)
        unused = () if self.request.confirm_seeds else ("seed_runs", "confirmation")
        return {name: value for name, value in values.items() if name not in unused}

    @property
    def runs(self) -> tuple[Trial, ...]:
        """All trials, and their runs with other seeds."""
        return (*self.trials, *self.seed_runs)

    @property
    def is_over(self) -> bool:
        return self.status in ("Completed", "Failed", "Stopped")

    @property
    def best(self) -> Trial | None:
        """The completed trial with the best objective, the earliest of equal ones; after confirmation, its best."""
        if self.confirmation is not None:
            confirmed = self.confirmation.best
            return next((trial for trial in self.trials if trial.name == confirmed), None)
        return best_trial(self.trials, self.request.direction)

    def ended_unexpectedly(self, job_status: str, reason: str | None) -> Study:
        """The study after its job ended before the search did."""
        status: Status = "Stopped" if job_status == "Stopped" else "Failed"
        note = reason or f"the job ended as {job_status} before its search did"
        cut = {"status": status, "failure_reason": note}
        trials = tuple(trial if trial.is_over else trial.model_copy(update=cut) for trial in self.trials)
        seed_runs = tuple(run if run.is_over else run.model_copy(update=cut) for run in self.seed_runs)
        changes = {"status": status, "reason": note, "trials": trials, "seed_runs": seed_runs}
        return self.model_copy(update=changes)

    def job_name(self, index: int, attempt: int = 1, seed: int | None = None) -> str:
        """The job name of a trial: the study's name, the trial's number from 1, and the study's key.

        That of its run with another seed ends with the seed's number from 1, and that of a later attempt with its own.
        """
        number = "" if seed is None else f"-s{self.request.other_seeds.index(seed) + 1}"
        return f"{self.request.name}-{index + 1:03d}-{self.key}{number}" + (f"-r{attempt}" if attempt > 1 else "")

    def planned_seed_runs(self) -> tuple[SeedRun, ...]:
        """The runs that confirm the best trials, all trials with one seed after another."""
        return tuple(
            SeedRun(
                name=self.job_name(trial.index, seed=seed),
                index=trial.index,
                hyperparameters=trial.hyperparameters,
                seed=seed,
            )
            for seed in self.request.other_seeds
            for trial in contenders(self.trials, self.request.direction)
        )


def check_study_name(name: str) -> None:
    """Check the name of a tuning job.

    Raises:
        ConfigError: it is longer than 32 characters, or has characters other than letters, digits and inner hyphens.
    """
    if len(name) > MAX_STUDY_NAME_CHARS:
        raise ConfigError(
            f"tuning job name {name!r} has {len(name)} characters; at most {MAX_STUDY_NAME_CHARS} are allowed"
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(f"tuning job name {name!r}: use letters, digits and, between them, hyphens")


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one search. Changing it requires its lock; reading doesn't."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / "study.json"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def _remedy(self) -> str:
        return f"restore {self.file}, or delete its folder and start the search again"

    def exists(self) -> bool:
        return self.file.is_file()

    def load(self) -> Study:
        """Read the search.

        Raises:
            ConfigError: it doesn't exist, or a newer version wrote it.
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
        if type(version) is int and version > SCHEMA_VERSION:
            raise ConfigError(
                f"tuning job {self.path.name!r} was written by a newer breedclf (state version {version}, known "
                f"{SCHEMA_VERSION}): upgrade breedclf"
            )
        try:
            if type(version) is not int or version < 1:
                raise ConfigError(f"schema_version is {version!r}, which breedclf never writes")
            return from_saved(Study, document, self.file)
        except ValidationError as error:
            problem = explain(error, Study.model_fields)
        except ConfigError as error:
            problem = str(error)
        raise BreedclfError(f"the state of tuning job {self.path.name!r} is damaged: {problem}; {self._remedy}")

    def save(self, study: Study) -> None:
        """Write the study atomically.

        Raises:
            DiskError: it can't be written.
        """
        text = json.dumps(study.model_dump(mode="json"))
        try:
            write_atomic(self.file, text, sync=True)
        except OSError as error:
            raise DiskError(
                f"the state of tuning job {self.path.name!r} can't be written to {self.file}: {refusal(error)}; its "
                "trials so far are kept: free disk space and attach again"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the study, so that this is the only process that drives it.

        Raises:
            ConfigError: another process has locked it.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # A process that was killed while starting a job briefly leaves the lock to the child process: wait for that.
        lock = FileLock(self.path / "tuner.lock", timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"tuning job {self.path.name!r} is being run by another process: wait for it, or use another name"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _unknown(self) -> str:
        folder = self.path.parent
        known = sorted(each.parent.name for each in folder.glob("*/study.json")) if folder.is_dir() else []
        shown = f"existing ones are {', '.join(known[:20])}" if known else "there are none"
        return f"no tuning job {self.path.name!r} in {folder}: {shown}"
