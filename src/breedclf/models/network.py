"""The network: torchvision's ResNet, and its backbone optimized for inference."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from breedclf.config import Architecture
from breedclf.models.fused_ops import can_fuse, fuse
from breedclf.models.initialization import DrawnFrom, NotDrawn
from breedclf.runtime.device import Compute
from breedclf.runtime.vision import ResNet, models

log: logging.Logger = logging.getLogger(__name__)

StateDict = dict[str, torch.Tensor]


def new_network(architecture: Architecture, *, seed: int, classes: int = 1000) -> ResNet:
    """A network with random weights drawn from `seed`; the global random state isn't changed."""
    with DrawnFrom(seed):
        return _constructor(architecture)(num_classes=classes)


def empty_network(architecture: Architecture, classes: int) -> ResNet:
    """A network on the meta device, without memory for its weights: fill it by `load_state_dict(..., assign=True)`."""
    with torch.device("meta"), NotDrawn():
        return _constructor(architecture)(num_classes=classes)


def network_from(architecture: Architecture, state: StateDict) -> ResNet:
    """The network with these weights, in eval mode; it shares their memory."""
    network = empty_network(architecture, state["fc.bias"].shape[0])
    network.load_state_dict(state, assign=True)
    return network.eval()


def frozen_backbone(architecture: Architecture, state: StateDict, compute: Compute) -> nn.Module:
    """The network without its classification layer, for inference only: [N, 3, H, W] to features [N, D].

    Batch norms are folded into the convolutions before them, which changes results only by rounding.
    """
    network = empty_network(architecture, 1)
    network.fc = nn.Identity()
    network.load_state_dict(state, assign=True)
    return for_inference(network, compute)


def for_inference(network: ResNet, compute: Compute) -> nn.Module:
    """Fold the batch norms, fuse operations where the device supports it, and move the network to device and dtype.

    A network to be compiled isn't fused: torch.compile fuses it itself at the first batch.
    """
    network = folded(network)
    if can_fuse(compute.device, network, compute.dtype) and not compute.compiled:
        network = fuse(network)
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    moved: nn.Module = network.to(device=compute.device, dtype=compute.dtype, memory_format=layout)
    return _Compiled(moved) if compute.compiled else moved


class _Compiled(nn.Module):
    """A network compiled by torch.compile at its first batch; the log reports how long that took."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = torch.compile(network)
        self.seconds: float | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        outputs: torch.Tensor = self.network(images)
        if self.seconds is None:
            self.seconds = time.perf_counter() - started
            log.info("compiling the backbone took %.1f s, including its first %d images", self.seconds, len(images))
        return outputs


def folded(network: ResNet) -> ResNet:
    """Fold the batch norms into the convolutions, in place; the network is for inference only afterwards."""
    network = network.eval().requires_grad_(False)
    for module in network.modules():
        _fold_batch_norms(module)
    return network


def fold_scaling(head: nn.Linear, mean: torch.Tensor, deviation: torch.Tensor) -> nn.Linear:
    """The layer that does on raw features what `head` does on standardized ones, computed in float64."""
    with NotDrawn():
        folded = nn.Linear(head.in_features, head.out_features)
    weight = head.weight.detach().cpu().double() / deviation.cpu().double()
    bias = head.bias.detach().cpu().double() - weight @ mean.cpu().double()
    folded.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return folded


def unfold_scaling(
    weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse of `fold_scaling`: what a head on standardized features needs to do what these do on raw ones."""
    raw = weight.cpu().double()
    shifted = bias.cpu().double() + raw @ mean.cpu().double()
    return (raw * deviation.cpu().double()).float(), shifted.float()


def _fold_batch_norms(module: nn.Module) -> None:
    """Fold the direct children of a module of torchvision's ResNet, where each batch norm follows its convolution."""
    children = list(module.named_children())
    for (name, child), (next_name, next_child) in itertools.pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(next_child, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, next_child))
            setattr(module, next_name, nn.Identity())


def _constructor(architecture: Architecture) -> Callable[..., ResNet]:
    return cast("Callable[..., ResNet]", getattr(models, architecture))
