"""Networks optimized for inference, and the scaling of features folded into a head."""

from __future__ import annotations

import itertools
import logging
import time

import torch
from torch import nn

from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.backbones.graph import graph_of
from breedclf.models.folding import fold
from breedclf.models.fused_ops import can_fuse
from breedclf.models.fusing import fused
from breedclf.models.initialization import NotDrawn
from breedclf.runtime.device import Compute

log: logging.Logger = logging.getLogger(__name__)


def frozen_backbone(architecture: str, state: StateDict, compute: Compute) -> nn.Module:
    """The network without its head, for inference only: normalized images [N, 3, H, W] to features [N, D].

    Batch norms are folded into the convolutions before them, which changes results only by rounding.
    """
    return for_inference(find_backbone(architecture).headless(state), compute)


def for_inference(network: nn.Module, compute: Compute) -> nn.Module:
    """Fold the batch norms, fuse operations where the device supports it, and move the network to device and dtype.

    A network whose operations can't be recorded is only moved. One that is to be compiled isn't fused: torch.compile
    fuses it itself at the first batch.
    """
    graph = graph_of(network.eval().requires_grad_(False))
    if graph is not None:
        fold(network, graph)
        if can_fuse(compute.device, network, compute.dtype) and not compute.compiled:
            network = fused(network, graph)
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    moved = in_layout(network.to(device=compute.device, dtype=compute.dtype), layout)
    return _Compiled(moved) if compute.compiled else moved


def in_layout(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The network with its four-dimensional weights in this layout; torch's own `to` raises for tensors with five."""
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=layout)
    return network


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


def fold_scaling(weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> nn.Linear:
    """The layer that does on raw features what these do on standardized ones, computed in float64."""
    with NotDrawn():
        folded = nn.Linear(weight.shape[1], weight.shape[0])
    weight = weight.detach().cpu().double() / deviation.cpu().double()
    bias = bias.detach().cpu().double() - weight @ mean.cpu().double()
    folded.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return folded


def unfold_scaling(
    weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse of `fold_scaling`: what a head on standardized features needs to do what these do on raw ones."""
    raw = weight.cpu().double()
    shifted = bias.cpu().double() + raw @ mean.cpu().double()
    return (raw * deviation.cpu().double()).float(), shifted.float()
