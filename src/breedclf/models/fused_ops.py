"""A ResNet on CPUs with each convolution, its ReLU and the shortcut's addition as one operation of oneDNN.

Activations then pass through memory once instead of three times, which saves a good part of the plain network's time.
The operations are those that torch.compile would use; called explicitly, they need no compilation.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from breedclf.models.state_dict import all_finite
from breedclf.runtime.vision import BasicBlock, Bottleneck, ResNet


def can_fuse(device: torch.device, network: nn.Module | None = None, dtype: torch.dtype = torch.float32) -> bool:
    """Whether torch has the fused operations for this device and dtype, and the network's weights are finite.

    In bf16 they need instructions that not every processor has; without those the plain network still works, slowly. A
    fused ReLU turns NaN into zero, which would hide broken weights.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if network is not None and not all_finite(network):
        return False
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise") and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")


def fuse(network: nn.Module) -> nn.Module:
    """Replace the parts of a network without batch norms by fused ones, in place; for inference only.

    The results are equal up to rounding: a sum is rounded once, after the addition, and not before it too.
    """
    if not isinstance(network, ResNet):
        return network
    network.conv1 = cast(nn.Conv2d, FusedConv(network.conv1, activation="relu"))
    network.relu = cast(nn.ReLU, nn.Identity())
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for position, block in enumerate(stage):
            stage[position] = FusedBlock(cast("BasicBlock | Bottleneck", block))
    return cast(nn.Module, network)


class FusedConv(nn.Module):
    """A convolution and its activation ("relu" or "none"): [N, C, H, W] to [N, D, H', W']."""

    def __init__(self, conv: nn.Conv2d, activation: str) -> None:
        super().__init__()
        self.weight: torch.Tensor = conv.weight
        self.bias: torch.Tensor | None = conv.bias
        self.activation = activation
        self._geometry = (list(cast("tuple[int, ...]", conv.padding)), list(conv.stride), list(conv.dilation))
        self._groups = conv.groups

    def forward(self, images: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve and activate; `added`, if given, is added before the activation and overwritten with the result."""
        fixed = (images, self.weight, self.bias, *self._geometry, self._groups)
        if added is None:
            result = torch.ops.mkldnn._convolution_pointwise(*fixed, self.activation, [], "")
        else:
            result = torch.ops.mkldnn._convolution_pointwise_.binary(added, *fixed, "add", 1.0, self.activation, [], "")
        return cast(torch.Tensor, result)


class FusedBlock(nn.Module):
    """One residual block: its convolutions in order; the last one adds the shortcut."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        convolutions = [block.conv1, block.conv2, *([block.conv3] if isinstance(block, Bottleneck) else [])]
        for number, conv in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", FusedConv(conv, activation="relu"))
        self.downsample: FusedConv | None = (
            None if block.downsample is None else FusedConv(block.downsample[0], activation="none")
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        *inner, last = (child for name, child in self.named_children() if name != "downsample")
        outputs = images
        for conv in inner:
            outputs = conv(outputs)
        shortcut = images if self.downsample is None else self.downsample(images)
        return cast(torch.Tensor, last(outputs, shortcut))
