"""Classifiers of small networks whose random weights tell images apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from breedclf import Classifier
from breedclf.data.preprocessing import Preprocessing
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.testing.images import PATTERNS, draw_image
from tests.families.conftest import telling

LABELS = ("001.Beagle", "002.Harrier", "003.Basset_hound", "004.Whippet")
NAMES = ("Beagle", "Harrier", "Basset hound", "Whippet")

ClassifierOf = Callable[..., Classifier]


@pytest.fixture(scope="session")
def classifier_of(tmp_path_factory: pytest.TempPathFactory) -> ClassifierOf:
    """A classifier of this network on the CPU; models of equal arguments are shared."""
    folders: dict[tuple[str, int, tuple[str, ...]], Path] = {}

    def classifier(
        architecture: str,
        precision: str = "fp32",
        *,
        crop_px: int = 0,
        labels: tuple[str, ...] = LABELS,
        tta: bool = False,
    ) -> Classifier:
        backbone = find_backbone(architecture)
        side = crop_px or backbone.side_px
        key = (architecture, side, labels)
        if key not in folders:
            network = telling(backbone.new_network(seed=0, classes=len(labels)), inputs(side))
            head = network.get_submodule(backbone.head)
            assert isinstance(head, nn.Linear)
            head.weight.data = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(2)) / 8
            folders[key] = tmp_path_factory.mktemp("model") / "model"
            names = tuple(NAMES[LABELS.index(label)] if label in LABELS else label for label in labels)
            card = {
                "architecture": architecture,
                "labels": labels,
                "class_names": names,
                "preprocessing": Preprocessing(resize_px=side, crop_px=side),
            }
            write_artifact(folders[key], card, network.state_dict())
        return Classifier(folders[key], device="cpu", precision=precision, tta=tta)  # type: ignore[arg-type]

    return classifier


def crops(side: int) -> torch.Tensor:
    """Three synthetic images, uint8 [3, 3, side, side]."""
    drawn = [draw_image(pattern, np.random.default_rng(0)) for pattern in list(PATTERNS)[:3]]
    return torch.stack([Preprocessing(resize_px=side, crop_px=side).view(image, 0) for image in drawn])


def inputs(side: int) -> torch.Tensor:
    return Preprocessing().normalize(crops(side))
