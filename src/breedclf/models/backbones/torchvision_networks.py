"""torchvision's classifiers."""

from __future__ import annotations

from functools import partial

from torch import nn

from breedclf.runtime.vision import models

_HEADS = {
    "alexnet": "classifier.6",
    "convnext": "classifier.2",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "maxvit": "classifier.5",
    "mnasnet": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3": "classifier.3",
    "swin": "head",
    "vgg": "classifier.6",
    "vit": "heads.head",
}
"""The path of the head by the start of the name; it is `fc` for all others."""


def torchvision_network(name: str) -> tuple[partial[nn.Module], str, int]:
    """What builds a network, the path of its head, and the side of its images in pixels."""
    head = next((path for start, path in _HEADS.items() if name.startswith(start)), "fc")
    return partial(_network, name), head, 224


def _network(name: str, classes: int) -> nn.Module:
    network: nn.Module = getattr(models, name)(num_classes=classes)
    return network
