"""The settings of a journey: how to train and search, what the gate requires, where models are stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from breedclf.config import TrainingConfig
from breedclf.config.base import OutputPath, Settings
from breedclf.config.files import read_settings
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath
from breedclf.jobs import check_name
from breedclf.model_store.gate import Gate
from breedclf.model_store.records import check_model_name
from breedclf.tuning.flag_values import parameter_of
from breedclf.tuning.search_request import MAX_CONFIRM_SEEDS
from breedclf.tuning.space import Categorical, Parameter
from breedclf.tuning.strategies import Strategy

SEED_GRID: dict[str, Parameter] = {
    "learning_rate": Categorical(0.005, 0.0075, 0.01),
    "batch_size": Categorical(32, 64),
    "epochs": Categorical(2, 3),
}
"""The search by default: every combination of these, twelve trials."""

STEPS = (
    "check",
    "backbones",
    "tune",
    "best",
    "profile",
    "evaluate",
    "review",
    "gate",
    "register",
    "deploy",
    "predict",
    "clean-up",
)


def seed_grid(training: TrainingConfig | None) -> dict[str, Parameter]:
    """The search by default; a setting that was given explicitly isn't searched.

    Example:
        >>> {name: str(each) for name, each in seed_grid(TrainingConfig(data="dogImages", epochs=5)).items()}
        {'learning_rate': '0.005, 0.0075, 0.01', 'batch_size': '32, 64', 'epochs': '5'}
    """
    given = set() if training is None else training.model_fields_set
    return {name: Categorical(getattr(training, name)) if name in given else each for name, each in SEED_GRID.items()}


class JourneySettings(Settings):
    """What a journey does; field names are the keys of its YAML file.

    In the space, a parameter is a `Continuous`, `Integer` or `Categorical`, a list of choices, or text as on the
    command line of `breedclf tune`.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> settings = JourneySettings(
        ...     training=TrainingConfig(data="dogImages"), space={"learning_rate": "0.005:0.01", "epochs": [2, 3]}
        ... )
        >>> settings.model_name, settings.search_strategy, {name: str(each) for name, each in settings.space.items()}
        ('dogImages', 'bayesian', {'learning_rate': '0.005 to 0.01', 'epochs': '2, 3'})
    """

    training: TrainingConfig = Field(description="settings of all training runs, with the dataset")
    space: dict[str, Parameter] = Field(
        default_factory=dict,
        validate_default=True,
        description="what to search, by setting (default: twelve combinations, without the settings given in training)",
    )
    strategy: Strategy | None = Field(
        default=None, description="grid, random or bayesian (default: grid, or bayesian if the space has a range)"
    )
    max_jobs: int | None = Field(
        default=None, ge=1, description="maximum number of trials (default: 10, or all of a grid)"
    )
    search_seed: int = Field(default=0, description="seed of the search")
    weights: dict[str, str] = Field(
        default_factory=dict, description="weights of each network that has others than the training settings"
    )
    confirm_seeds: int | None = Field(
        default=None,
        ge=0,
        le=MAX_CONFIRM_SEEDS,
        description="other seeds to run the best trials with (default: 5; 0 as jobs and with random weights)",
    )
    candidates: tuple[str, ...] = Field(default=(), description="backbones to compare before the search")
    budget_seconds: float | None = Field(default=None, gt=0, description="time for comparing backbones")
    verify: bool = Field(default=True, description="measure whether the profiler's advice helps")
    verify_seconds: float = Field(
        default=90.0, gt=0, description="how long that may take: it chooses the number of images, and ends the runs"
    )
    gate: Gate = Field(default_factory=Gate, description="what a model must fulfill before it is deployed")
    store: OutputPath = Field(default=Path("runs/models"), validate_default=True, description="folder of the models")
    name: str = Field(default="", description="name of the model in the store (default: that of the dataset)")
    endpoint: str = Field(default="", description="name of the endpoint (default: made from that of the model)")
    images: int = Field(default=3, ge=1, le=100, description="test images to predict with the endpoint")
    keep: bool = Field(default=False, description="keep the endpoint in service at the end")
    output: OutputPath = Field(
        default=Path("runs/journey"), validate_default=True, description="folder for everything else"
    )

    @field_validator("space", mode="before")
    @classmethod
    def _parameters(cls, value: object, info: ValidationInfo) -> object:
        if not value:
            return seed_grid(info.data.get("training"))
        if not isinstance(value, Mapping):
            return value
        return {name: parameter_of(str(name), each) for name, each in value.items()}

    @field_validator("candidates", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _is_a_model_name(cls, value: str) -> str:
        return check_model_name(value) if value else value

    @field_validator("endpoint")
    @classmethod
    def _is_an_endpoint_name(cls, value: str) -> str:
        return check_name(value) if value else value

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.training.data is None:
            raise ValueError("the journey needs data: give the image folder or the table")
        return self

    @property
    def data(self) -> Path:
        """The dataset."""
        if self.training.data is None:
            raise ConfigError("the journey needs data: give the image folder or the table")
        return self.training.data

    @property
    def model_name(self) -> str:
        """The name of the model in the store."""
        letters = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in self.data.stem)
        return self.name or letters.strip("-")[:64].strip("-") or "model"

    @property
    def search_strategy(self) -> Literal["grid", "random", "bayesian"]:
        """How the space is searched."""
        if self.strategy is not None:
            return self.strategy
        return "grid" if all(isinstance(each, Categorical) for each in self.space.values()) else "bayesian"

    @classmethod
    def values_in_file(cls, path: StrPath) -> dict[str, Any]:
        """The values of a YAML, TOML or JSON file, not validated yet.

        Raises:
            ConfigError: it can't be read, or has training settings at its top.
        """
        values = read_settings(path)
        misplaced = [name for name in values if name in TrainingConfig.model_fields and name not in cls.model_fields]
        if misplaced:
            raise ConfigError(
                f"settings file {path}: {', '.join(misplaced)} belong under training: this file describes a journey"
            )
        for name in ("training", "space", "gate"):
            if name in values and not isinstance(values[name], Mapping):
                raise ConfigError(f"settings file {path}: {name} must be a table of settings, not {values[name]!r}")
        return values

    @classmethod
    def from_file(cls, path: StrPath) -> Self:
        """The settings in a YAML, TOML or JSON file.

        Raises:
            ConfigError: it can't be read, or a setting in it is wrong.
        """
        values = cls.values_in_file(path)
        return cls(**values | {"training": TrainingConfig(**values.get("training", {}))})


def plain(settings: Settings) -> Mapping[str, Any]:
    """The values of settings for JSON."""
    return settings.model_dump(mode="json")
