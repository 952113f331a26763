"""Operations of oneDNN for CPUs: a convolution or linear layer with its activation, and with an addition.

Values then pass through memory once instead of three times, which saves a good part of the plain network's time.
The operations are those that torch.compile would use; called explicitly, they need no compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from breedclf.models.state_dict import all_finite

_OPERATIONS = ("_convolution_pointwise", "_convolution_pointwise_", "_linear_pointwise")


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
    return all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)


@dataclass(frozen=True)
class Activation:
    """An activation by oneDNN's name of it, such as `relu`, with its numbers and its variant."""

    name: str = "none"
    scalars: tuple[float, ...] = ()
    variant: str = ""


class FusedConv(nn.Module):
    """A convolution and its activation: [N, C, H, W] to [N, D, H', W'].

    Args:
        conv: the convolution; its weights are shared.
        activation: what follows; "relu" or "none" if something is added in between.
        same: pad images at both ends by what their size needs, as TensorFlow does.
        in_place: overwrite what is added with the result.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation, *, same: bool = False, in_place: bool = False) -> None:
        super().__init__()
        self.weight: torch.Tensor = conv.weight
        self.bias: torch.Tensor | None = conv.bias
        self.activation: str = activation.name
        self.in_place = in_place
        self.same = same
        self._after = (activation.name, list(activation.scalars), activation.variant)
        after_sum = activation.name if activation.name != "none" else None
        self._sum: tuple[str, float, str | None, list[float], str] = ("add", 1.0, after_sum, [], "")
        self._padding = list(cast("tuple[int, ...]", conv.padding))
        self._stride = list(conv.stride)
        self._dilation = list(conv.dilation)
        self._kernel = list(conv.kernel_size)
        self._groups = conv.groups

    def forward(self, images: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve and activate; `added`, if given, is added before the activation."""
        inputs = self._padded(images) if self.same else images
        fixed = (inputs, self.weight, self.bias, self._padding, self._stride, self._dilation, self._groups)
        operations = torch.ops.mkldnn
        if added is None:
            result = operations._convolution_pointwise(*fixed, *self._after)
        elif added.shape != self._output_shape(inputs):
            result = operations._convolution_pointwise(*fixed, "none", [], "") + added
            result = F.relu(result) if self.activation == "relu" else result
        elif self.in_place:
            result = operations._convolution_pointwise_.binary(added, *fixed, *self._sum)
        else:
            result = operations._convolution_pointwise.binary(inputs, added, *fixed[1:], *self._sum)
        return cast(torch.Tensor, result)

    def _output_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        numbers = zip(inputs.shape[2:], self._kernel, self._padding, self._stride, self._dilation, strict=True)
        sides = ((side + 2 * pad - gap * (kernel - 1) - 1) // step + 1 for side, kernel, pad, step, gap in numbers)
        return (inputs.shape[0], self.weight.shape[0], *sides)

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for side, kernel, step, gap in zip(images.shape[2:], self._kernel, self._stride, self._dilation, strict=True):
            total = max((-(-side // step) - 1) * step + (kernel - 1) * gap + 1 - side, 0)
            pads = [total // 2, total - total // 2, *pads]
        return F.pad(images, pads)


class FusedLinear(nn.Module):
    """A linear layer and its activation, or an addition: [..., C] to [..., D]."""

    def __init__(self, linear: nn.Linear, activation: Activation) -> None:
        super().__init__()
        self.weight: torch.Tensor = linear.weight
        self.bias: torch.Tensor | None = linear.bias
        self.activation: str = activation.name
        self._after = (activation.name, list(activation.scalars), activation.variant)

    def forward(self, inputs: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """Multiply and activate, or add `added`."""
        operation = torch.ops.mkldnn._linear_pointwise
        if added is None:
            return cast(torch.Tensor, operation(inputs, self.weight, self.bias, *self._after))
        if added.shape != (*inputs.shape[:-1], self.weight.shape[0]):
            return cast(torch.Tensor, operation(inputs, self.weight, self.bias, *self._after)) + added
        return cast(torch.Tensor, operation.binary(inputs, added, self.weight, self.bias, "add"))
