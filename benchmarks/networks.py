"""Networks that all compared programs train, as their users make them: with torchvision or timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision import models, transforms

from benchmarks.measuring import BACKBONES

TIMM = "timm:"
NETWORKS: dict[str, Path | None] = {
    "resnet50": BACKBONES["resnet50"],
    "timm:tf_efficientnet_lite0": BACKBONES["timm:tf_efficientnet_lite0"],
    "convnext_tiny": None,
}
"""Files of weights by network; without one, weights are random and only speed counts."""
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TIMM_MEAN, TIMM_STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]  # of tf_efficientnet_lite0


def new_network(name: str, weights: Path | None, classes: int, *, trainable: str, seed: int) -> torch.nn.Module:
    """A network with the given weights and a new head; only trained layers ("head" or "all") have gradients."""
    torch.manual_seed(seed)
    if name.startswith(TIMM):
        import timm

        network: Any = timm.create_model(name.removeprefix(TIMM))
    else:
        network = models.get_model(name)
    if weights is not None:
        state = torch.load(weights, weights_only=True)
        ours = dict(zip(network.state_dict(), state.values(), strict=True)) if name.startswith(TIMM) else state
        network.load_state_dict(ours)
    network.requires_grad_(trainable == "all")
    if name.startswith(TIMM):
        network.reset_classifier(classes)
    else:
        path = head_name(name)
        owner = network.get_submodule(path.rpartition(".")[0])
        setattr(owner, path.rpartition(".")[2], torch.nn.Linear(network.get_submodule(path).in_features, classes))
    return network  # type: ignore[no-any-return]


def head_name(name: str) -> str:
    """The name of the head in the network."""
    return {"resnet50": "fc", "convnext_tiny": "classifier.2"}.get(name, "classifier")


def mean_and_std(name: str) -> tuple[list[float], list[float]]:
    return (TIMM_MEAN, TIMM_STD) if name.startswith(TIMM) else (MEAN, STD)


def preparation(name: str) -> transforms.Compose:
    """The transforms of the network's test images."""
    mode = transforms.InterpolationMode.BICUBIC if name.startswith(TIMM) else transforms.InterpolationMode.BILINEAR
    resize = transforms.Resize(256, interpolation=mode)
    normalize = transforms.Normalize(*mean_and_std(name))
    return transforms.Compose([resize, transforms.CenterCrop(224), transforms.ToTensor(), normalize])
