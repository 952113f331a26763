"""The definition of a search: what to try, how, and with what settings; validated before the first job starts."""

from __future__ import annotations

import re
from typing import Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from breedclf.config import Settings, TrainingConfig
from breedclf.config.aliases import renamed_settings
from breedclf.config.architectures import TIMM
from breedclf.errors import ConfigError
from breedclf.tuning.network_weights import checked_weights, searched_architectures
from breedclf.tuning.space import Space, checked_space, size, with_architecture_names, with_weights
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Plan, Strategy, grid_size
from breedclf.tuning.trials import Direction, SeedRun, Trial, direction_of

DEFAULT_MAX_JOBS = 10
MAX_JOBS = 750  # the service's ceiling for a tuning job without a raised quota
MAX_STUDY_NAME_CHARS = 32
MAX_CONFIRM_SEEDS = 100
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
