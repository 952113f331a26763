"""A ResNet on CPUs with each convolution, its ReLU and the shortcut's addition as one operation of oneDNN.

Activations then pass through memory once instead of three times, which is what the plain network spends a good part of
its time on. The operations are those that torch.compile would use; asked for by name, they need no compilation.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from breedclf.models.state_check import all_finite
from breedclf.runtime.vision import BasicBlock, Bottleneck, ResNet


def can_fuse(device: torch.device, network: nn.Module | None = None, dtype: torch.dtype = torch.float32) -> bool:
    """Whether torch has the operations for this device and type, and the network's weights are numbers.

    In bf16 they need instructions that not every processor has, and without which the plain network is but slow. A
    fused ReLU makes zero of what is no number, which would hide broken weights.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if network is not None and not all_finite(network):
        return False
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise") and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")


def fuse(network: ResNet) -> ResNet:
    """Replace the parts of a network without batch norms by fused ones, in place; for inference only.

    Equal to the network before up to rounding: a sum is rounded once, after the addition and not also before it.
    """
    network.conv1 = cast(nn.Conv2d, FusedConv(network.conv1, activation="relu"))
    network.relu = cast(nn.ReLU, nn.Identity())
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for position, block in enumerate(stage):
            stage[position] = FusedBlock(cast("BasicBlock | Bottleneck", block))
    return network


class FusedConv(nn.Module):
    """A convolution and the activation behind it ("relu" or "none"): [N, C, H, W] to [N, D, H', W']."""

    def __init__(self, conv: nn.Conv2d, activation: str) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.activation = activation
        self._geometry = (list(cast("tuple[int, ...]", conv.padding)), list(conv.stride), list(conv.dilation))
        self._groups = conv.groups

    def forward(self, pictures: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """With `added`, that is added before the activation, and its memory holds the result."""
        fixed = (pictures, self.weight, self.bias, *self._geometry, self._groups)
        if added is None:
            result = torch.ops.mkldnn._convolution_pointwise(*fixed, self.activation, [], "")
        else:
            result = torch.ops.mkldnn._convolution_pointwise_.binary(added, *fixed, "add", 1.0, self.activation, [], "")
        return cast(torch.Tensor, result)


class FusedBlock(nn.Module):
    """One residual block: its convolutions in turn, the last one adding the shortcut."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        convolutions = [block.conv1, block.conv2, *([block.conv3] if isinstance(block, Bottleneck) else [])]
        for number, conv in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", FusedConv(conv, activation="relu"))
        self.downsample = None if block.downsample is None else FusedConv(block.downsample[0], activation="none")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        *inner, last = (child for name, child in self.named_children() if name != "downsample")
        found = pictures
        for conv in inner:
            found = conv(found)
        shortcut = pictures if self.downsample is None else self.downsample(pictures)
        return cast(torch.Tensor, last(found, shortcut))
