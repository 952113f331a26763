"""`start_from` and `weights` in the settings: one excludes the other, and every saved form is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical, checked_space

CONTINUED = TrainingConfig(data="dogs", start_from="runs/dogs/model")


def test_the_weights_are_those_of_the_model() -> None:
    assert CONTINUED.weights == "start_from"
    assert CONTINUED.keeps_statistics
    assert CONTINUED.replace(start_from=None).weights == "IMAGENET1K_V1"
    assert CONTINUED.replace(epochs=2) == TrainingConfig(data="dogs", start_from="runs/dogs/model", epochs=2)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "none", "resnet50.pth"])
def test_weights_beside_a_model_are_refused(weights: str) -> None:
    with pytest.raises(ConfigError, match=f"start_from='runs/dogs/model' and weights='{weights}' are both set"):
        TrainingConfig(data="dogs", start_from="runs/dogs/model", weights=weights)


def test_a_settings_file_with_weights_can_be_overridden(tmp_path: Path) -> None:
    TrainingConfig(data="dogs", weights="none").to_file(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="leave one of them out"):
        TrainingConfig.from_file(tmp_path / "config.json", start_from="m")
    found = TrainingConfig.from_file(tmp_path / "config.json", start_from="m", weights="start_from")
    assert (found.start_from, found.weights) == (Path("m"), "start_from")


def test_weights_of_no_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights=start_from needs a model: set start_from=OUTPUT/model"):
        TrainingConfig(data="dogs", weights="start_from")


@pytest.mark.parametrize("suffix", ["json", "yaml", "toml"])
def test_every_saved_form_is_read_back(tmp_path: Path, suffix: str) -> None:
    CONTINUED.to_file(tmp_path / f"config.{suffix}")
    read = [
        TrainingConfig.from_file(tmp_path / f"config.{suffix}"),
        TrainingConfig(**CONTINUED.model_dump()),
        TrainingConfig.from_saved(CONTINUED.model_dump(mode="json")),
        TrainingConfig.from_hyperparameters(CONTINUED.to_hyperparameters()),
        TrainingConfig.from_hyperparameters(json.loads(json.dumps(CONTINUED.to_hyperparameters()))),
    ]
    assert read == [CONTINUED] * len(read)


@pytest.mark.parametrize("name", ["start_from", "weights", "architecture", "dct_scaling"])
def test_a_search_varies_nothing_that_the_model_sets(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' can't be tuned"):
        checked_space({name: Categorical("a", "b")}, CONTINUED)


def test_a_saved_search_continues_the_same_model() -> None:
    space: dict[str, Any] = {"epochs": Categorical(1, 2)}
    saved = SearchRequest(name="x", config=CONTINUED, space=space).model_dump(mode="json")
    config = SearchRequest(**json.loads(json.dumps(saved))).config
    assert (config.start_from, config.weights) == (Path("runs/dogs/model"), "start_from")
