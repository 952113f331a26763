"""Real photos: a model of ants and bees answers "none of these" to dogs, and keeps answering ants and bees."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import Evaluation, Trainer, TrainingConfig, evaluate

pytestmark = pytest.mark.slow  # 333 photos pass through a ResNet-50


@pytest.fixture(scope="module")
def measured(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    weights = str(shared_data / "weights" / "resnet50-imagenet1k.pth")
    data, output = shared_data / "hymenoptera", tmp_path_factory.mktemp("ants")
    artifact = Trainer(TrainingConfig(data=data, weights=weights, output=output)).fit().artifact
    return evaluate(artifact, data, unlike=shared_data / "dog-groups")


def test_dogs_are_none_of_the_insects(measured: Evaluation) -> None:
    assert measured.unlike is not None and measured.unlike.count == 113
    assert measured.unlike.auroc >= 0.97
    assert measured.unlike.let_through <= 0.12


def test_insects_are_kept(measured: Evaluation) -> None:
    assert measured.known_share is not None and measured.known_share >= 0.88
    assert measured.accuracy >= 0.9
