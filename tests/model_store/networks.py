"""Model directories with a network that always predicts one class, and images of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.testing.images import write_image_set

STRIPES, CHECKERS = "001.Stripes", "002.Checkers"


def write_images(folder: Path, test: int = 3) -> Path:
    """`test` test images each of `STRIPES` and `CHECKERS`."""
    return write_image_set(folder, classes=2, train=1, valid=1, test=test, size_px=48)


def write_network(folder: Path, always: str, labels: Sequence[str] = (STRIPES, CHECKERS), seed: int = 0) -> Path:
    """A model of `resnet18` that predicts the class `always`; the seed is that of its backbone."""
    state = find_backbone("resnet18").new_network(seed=seed, classes=len(labels)).state_dict()
    state["fc.weight"].zero_()
    state["fc.bias"].copy_(torch.tensor([3.0 if label == always else 0.0 for label in labels]))
    card = {
        "architecture": "resnet18",
        "labels": tuple(labels),
        "class_names": tuple(label.partition(".")[2] for label in labels),
        "preprocessing": Preprocessing(resize_px=72, crop_px=64),
    }
    write_artifact(folder, card, state)
    return folder
