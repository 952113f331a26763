"""A model trained on real photos with pretrained weights, and features of photos of its classes and of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from breedclf import Classifier, Trainer, TrainingConfig


@dataclass(frozen=True)
class Trained:
    """A classifier of ants and bees, and features [N, 512] of photos."""

    classifier: Classifier
    bank: torch.Tensor
    known: torch.Tensor
    unlike: torch.Tensor
    targets: torch.Tensor


def photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def hymenoptera(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on 120 photos of ants and bees; `unlike` are those of dogs."""
    data = shared_data / "hymenoptera"
    weights = str(shared_data / "weights" / "resnet18-imagenet1k.pth")
    output = tmp_path_factory.mktemp("ants") / "out"
    result = Trainer(TrainingConfig(data=data, architecture="resnet18", weights=weights, output=output)).fit()
    classifier = Classifier(result.artifact, precision="fp32")
    labels = list(classifier.card.labels)
    known = photos(data / "test")
    assert classifier._bank is not None
    return Trained(
        classifier,
        classifier._bank.rows,
        classifier.features(known),
        classifier.features(photos(shared_data / "dog-groups" / "test")),
        torch.tensor([labels.index(path.parent.name) for path in known]),
    )
