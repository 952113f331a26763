"""What type checkers accept and infer; never run. An unused ignore comment is an error: these show what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import assert_type

import breedclf as bc
from breedclf.backends.sagemaker.settings import SageMakerSettings


def paths_are_text_or_path_like_and_read_as_path(place: os.PathLike[str]) -> None:
    config = bc.TrainingConfig(data="dogImages", output=place, cache_dir=None)
    assert_type(config.data, Path | None)
    assert_type(config.output, Path)
    assert_type(config.cache_dir, Path | None)
    assert_type(bc.EvaluationConfig(output="report").output, Path | None)
    bc.TrainingConfig(data=3)  # type: ignore[arg-type]


def other_settings_take_what_they_convert(place: os.PathLike[str]) -> None:
    for weights in (None, "none", "resnet50.pth", place):
        assert_type(bc.TrainingConfig(data=place, weights=weights).weights, str)
    assert_type(bc.TrainingConfig(data=place, log_to=["tensorboard", "mlflow"]).log_to, str)
    settings = SageMakerSettings(subnets=["subnet-1"], tags={"team": "dogs"}, wheels="wheels")
    assert_type(settings.subnets, tuple[str, ...])
    assert_type(settings.tags, dict[str, str])
    assert_type(settings.wheels, Path | None)
    bc.TrainingConfig(data=place, epoch=3)  # type: ignore[call-arg]


def functions_take_any_path(place: os.PathLike[str], paths: list[Path]) -> None:
    classifier = bc.Classifier(place)
    assert_type(classifier.predict(place), bc.Prediction)
    assert_type(classifier.predict(paths), list[bc.Prediction])
    assert_type(classifier.predict(["dog.jpg", place, b""]), list[bc.Prediction])
    assert_type(bc.evaluate(place, "dogImages", output=place), bc.Evaluation)
    assert_type(bc.export(place, data=paths).output, Path)
    bc.TrainingConfig.from_file(place).to_file("settings.toml")
    bc.LocalBackend(place, python=place)


def a_space_mixes_ranges() -> None:
    space = {"learning_rate": bc.Continuous(0.005, 0.01), "batch_size": bc.Categorical(32, 64)}
    wide: dict[str, bc.ParameterRange] = {"epochs": bc.Integer(1, 4), **space}
    for each in (space, wide):
        bc.TuningJob(bc.TrainingConfig(data="dogImages"), each)
    bc.TuningJob(bc.TrainingConfig(data="dogImages"), {"epochs": [1, 2]})  # type: ignore[dict-item]
