"""The settings of a journey from Python, files and flags."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from breedclf import Categorical, Continuous, Integer, TrainingConfig
from breedclf.cli import _parser
from breedclf.cli.journey import journey_settings
from breedclf.errors import ConfigError
from breedclf.journey.settings import SEED_GRID, JourneySettings
from breedclf.tuning.space import size

JOURNEY = """
training:
  data: dogs
  seed: 3
space:
  learning_rate: 0.005:0.01
  batch_size: [32, 64]
  epochs: '2:4'
gate:
  baseline: 0.5
store: shop
keep: true
"""


def parsed(*words: str) -> argparse.Namespace:
    argv = ["journey", *words]
    return _parser(argv).parse_args(argv)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "journey.yaml"
    path.write_text(JOURNEY, encoding="utf-8")
    return path


def test_the_default_search_has_twelve_trials() -> None:
    settings = JourneySettings(training=TrainingConfig(data="dogs"))
    assert (size(settings.space), settings.search_strategy) == (12, "grid")


def test_a_setting_that_is_given_is_not_searched() -> None:
    settings = journey_settings(parsed("dogs", "--epochs", "5", "--learning-rate", "0.02"))
    assert settings.space == {
        "learning_rate": Categorical(0.02),
        "batch_size": Categorical(32, 64),
        "epochs": Categorical(5),
    }
    assert settings.replace(keep=True).space == settings.space
    assert journey_settings(parsed("dogs", "--epochs", "5", "--grid", "seed")).space == SEED_GRID


def test_a_file_describes_a_journey(file: Path) -> None:
    settings = JourneySettings.from_file(file)
    assert settings.space == {
        "learning_rate": Continuous(0.005, 0.01),
        "batch_size": Categorical(32, 64),
        "epochs": Integer(2, 4),
    }
    assert (settings.training.seed, settings.gate.baseline, settings.store, settings.keep) == (
        3,
        0.5,
        Path("shop"),
        True,
    )
    assert settings.search_strategy == "bayesian"


def test_flags_win_over_the_file(file: Path) -> None:
    settings = journey_settings(
        parsed("--config", str(file), "--seed", "5", "--no-keep", "--baseline", "0.7", "--max-drop", "0.1", "cats")
    )
    assert (settings.training.seed, settings.keep, settings.data) == (5, False, Path("cats"))
    assert (settings.gate.baseline, settings.gate.max_drop, settings.store) == (0.7, 0.1, Path("shop"))


def test_the_grid_wins_over_the_space_of_the_file(file: Path) -> None:
    assert journey_settings(parsed("--config", str(file), "--grid", "seed")).space == SEED_GRID


def test_flags_with_ranges_are_the_space() -> None:
    settings = journey_settings(
        parsed("dogs", "--learning-rate", "0.005:0.01", "--epochs", "2,3", "--max-jobs", "4", "--strategy", "random")
    )
    assert settings.space == {"learning_rate": Continuous(0.005, 0.01), "epochs": Categorical(2, 3)}
    assert (settings.max_jobs, settings.search_strategy) == (4, "random")


def test_weights_of_networks_and_candidates() -> None:
    settings = journey_settings(
        parsed("dogs", "--candidates", "resnet18, resnet50", "--weights", "none", "--weights", "resnet50=r50.pth")
    )
    assert settings.candidates == ("resnet18", "resnet50")
    assert (settings.training.weights, settings.weights) == ("none", {"resnet50": "r50.pth"})


def test_the_environment_is_between_file_and_flags(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_SEED", "9")
    assert journey_settings(parsed("--config", str(file))).training.seed == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: dogs\nlearning_rate: 0.1\n", "data, learning_rate belong under training: this file"),
        ("training: dogs\n", "training must be a table of settings, not 'dogs'"),
        ("training: {data: dogs}\nspaces: {}\n", "unknown setting 'spaces': did you mean 'space'?"),
        ("training: {data: dogs}\nspace: {epochs: 2}\n", "epochs=2: in a space, write a range or a list"),
        ("training: {data: dogs}\nspace: {epochs: 2:4}\n", "needs quotes: '2:4'"),
        ("training: {data: dogs}\nspace: {epochs: [2, 2]}\n", "2 is listed more than once"),
        ("training: {data: dogs}\nspace: {learning_rate: '0.1:x'}\n", "'x' is not a number"),
        ("training: {data: dogs, epoch: 2}\n", "unknown setting 'epoch': did you mean 'epochs'?"),
        ("training: {epochs: 2}\n", "'data' is required"),
        ("training: {data: dogs}\nstrategy: gird\n", "strategy='gird'"),
        ("training: {data: dogs}\ngate: {baseline: 2}\n", "baseline"),
        ("training: {data: dogs}\nname: 'a/b'\n", "name 'a/b'"),
        ("training: {data: dogs}\nendpoint: 'a b'\n", "'a b'"),
    ],
    ids=[
        "training at the top", "no table", "typo", "single", "sexagesimal", "twice", "no number", "typo in training",
        "no data",
        "strategy", "baseline", "name", "endpoint",
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "journey.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        journey_settings(parsed("--config", str(path)))
    assert message in str(error.value)


def test_the_name_of_a_model_is_made_of_that_of_the_dataset() -> None:
    assert JourneySettings(training=TrainingConfig(data="data/my dogs")).model_name == "my-dogs"
    assert JourneySettings(training=TrainingConfig(data="data/..."), name="dogs").model_name == "dogs"
