"""The settings of a journey: how to train and search, what the gate requires, where models are stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from breedclf.config import TrainingConfig
from breedclf.config.base import OutputPath, Settings
from breedclf.errors import ConfigError
from breedclf.model_store.gate import Gate
from breedclf.tuning.search_request import MAX_CONFIRM_SEEDS
from breedclf.tuning.space import Categorical, Parameter

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


class JourneySettings(Settings):
    """What a journey does; field names are the keys of its YAML file.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.
    """

    training: TrainingConfig = Field(description="settings of all training runs, with the dataset")
    space: dict[str, Parameter] = Field(
        default_factory=lambda: dict(SEED_GRID), description="what to search, by setting (default: twelve combinations)"
    )
    max_jobs: int | None = Field(default=None, ge=1, description="maximum number of trials (default: all combinations)")
    confirm_seeds: int | None = Field(
        default=None,
        ge=0,
        le=MAX_CONFIRM_SEEDS,
        description="run the best trials again with this many other seeds (default: 5 in this process, 0 as jobs)",
    )
    candidates: tuple[str, ...] = Field(default=(), description="backbones to compare before the search")
    budget_seconds: float | None = Field(default=None, gt=0, description="time for comparing backbones")
    gate: Gate = Field(default_factory=Gate, description="what a model must fulfill before it is deployed")
    store: OutputPath = Field(default=Path("runs/models"), validate_default=True, description="folder of the models")
    name: str = Field(default="", description="name of the model in the store (default: that of the dataset)")
    output: OutputPath = Field(
        default=Path("runs/journey"), validate_default=True, description="folder for everything else"
    )
    verify: bool = Field(default=True, description="measure whether the profiler's advice helps")
    images: int = Field(default=3, ge=1, le=100, description="test images to ask the endpoint for")
    keep: bool = Field(default=False, description="keep the endpoint in service at the end")

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
        return self.name or letters.strip("-")[:64] or "model"


def plain(settings: Settings) -> Mapping[str, Any]:
    """The values of settings for JSON."""
    return settings.model_dump(mode="json")
