"""What is kept of a tensor: a few numbers worked out on its device, by the same formulas whoever looks."""

from __future__ import annotations

import torch
from torch import nn

# Inputs beyond these lie where the gradient of the function is zero in single precision.
SATURATED_BEYOND = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23.0, 16.99999)}
INACTIVE_SHARE = 0.01
EPSILON = 1e-9

Measures = dict[str, torch.Tensor]


def common(tensor: torch.Tensor) -> Measures:
    """Mean size, share of zeros, and whether all is finite."""
    return {
        "mean_abs": tensor.abs().float().mean(),
        "zero_share": (tensor == 0).float().mean(),
        "finite": tensor.isfinite().all().float(),
    }


def spread(tensor: torch.Tensor) -> torch.Tensor:
    """Standard deviation of all values, which a single value has too: zero."""
    return tensor.float().std(correction=0)


def relu(output: torch.Tensor) -> Measures:
    """With the share of units that are silent: a unit is a channel, and silent when almost none of its values, over
    pictures and places, are above zero."""
    active = (output > 0).float().mean(dim=[0, *range(2, output.ndim)]) if output.ndim > 1 else (output > 0).float()
    return {**common(output), "inactive_share": (active < INACTIVE_SHARE).float().mean()}


def squashed(kind: str, given: torch.Tensor, output: torch.Tensor) -> Measures:
    """With the share of values that `tanh` or `sigmoid` got from where its gradient is zero."""
    low, high = SATURATED_BEYOND[kind]
    return {**common(output), "saturated_share": ((given < low) | (given > high)).float().mean()}


def relative(moved: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Mean move over mean size; a layer that starts at zero has no size to compare with, and gets 1."""
    return torch.where(size > 0, moved / (size + EPSILON), torch.ones_like(moved))


def layer_kind(module: nn.Module) -> str:
    """What rules ask about: linear, conv, or neither."""
    if isinstance(module, nn.Linear):
        return "linear"
    return "conv" if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) else ""
