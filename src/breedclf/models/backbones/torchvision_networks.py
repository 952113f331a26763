"""torchvision's classifiers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from breedclf.runtime.vision import get_model_weights, models

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


_OLD_NAMES = (
    (re.compile(r"\b(denselayer\d+\.(?:norm|conv))\.(\d)\b"), r"\1\2"),
    (re.compile(r"\b(encoder_layer_\d+\.mlp)\.linear_1\b"), r"\1.0"),
    (re.compile(r"\b(encoder_layer_\d+\.mlp)\.linear_2\b"), r"\1.3"),
)
"""Names in torchvision's files of DenseNet and ViT, which are older than their networks."""


def torchvision_network(name: str) -> tuple[partial[nn.Module], str, int]:
    """What builds a network, the path of its head, and the side of its images in pixels."""
    head = next((path for start, path in _HEADS.items() if name.startswith(start)), "fc")
    return partial(_network, name), head, 224


def _network(name: str, classes: int) -> nn.Module:
    network: nn.Module = getattr(models, name)(num_classes=classes)
    return network


def with_present_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with the names of torchvision's present networks, in place of those in its older files.

    Example:
        >>> [*with_present_names({"features.denseblock1.denselayer2.norm.1.weight": torch.ones(1)})]
        ['features.denseblock1.denselayer2.norm1.weight']
    """
    return {_present_name(name): tensor for name, tensor in state.items()}


def parameter_count(name: str) -> int:
    """The number of parameters of a classifier of ImageNet's 1,000 classes."""
    return int(next(iter(get_model_weights(name))).meta["num_params"])


def _present_name(name: str) -> str:
    for old, present in _OLD_NAMES:
        name = old.sub(present, name)
    return name
