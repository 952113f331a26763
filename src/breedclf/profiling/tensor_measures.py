"""Statistics of tensors, computed on their device: the same formulas for every source."""

from __future__ import annotations

import torch
from torch import nn

# Beyond these inputs, the gradient of the function is zero in single precision.
SATURATED_BEYOND = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23.0, 16.99999)}
INACTIVE_SHARE = 0.01
EPSILON = 1e-9

Measures = dict[str, torch.Tensor]


def common(tensor: torch.Tensor) -> Measures:
    """Mean absolute value, share of zeros, and whether all values are finite."""
    return {
        "mean_abs": tensor.abs().float().mean(),
        "zero_share": (tensor == 0).float().mean(),
        "finite": tensor.isfinite().all().float(),
    }


def spread(tensor: torch.Tensor) -> torch.Tensor:
    """Population standard deviation of all values; zero for a single value."""
    return tensor.float().std(correction=0)


def relu(output: torch.Tensor) -> Measures:
    """`common`, and the share of inactive units: channels in which almost no value is above zero, over all images and
    positions."""
    active = (output > 0).float().mean(dim=[0, *range(2, output.ndim)]) if output.ndim > 1 else (output > 0).float()
    return {**common(output), "inactive_share": (active < INACTIVE_SHARE).float().mean()}


def squashed(kind: str, inputs: torch.Tensor, output: torch.Tensor) -> Measures:
    """`common`, and the share of inputs of `tanh` or `sigmoid` where its gradient is zero."""
    low, high = SATURATED_BEYOND[kind]
    return {**common(output), "saturated_share": ((inputs < low) | (inputs > high)).float().mean()}


def relative(moved: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Mean change relative to mean size; 1 for a layer that starts at zero."""
    return torch.where(size > 0, moved / (size + EPSILON), torch.ones_like(moved))


def layer_kind(module: nn.Module) -> str:
    """The layer type that rules use: `linear`, `conv`, or an empty string."""
    if isinstance(module, nn.Linear):
        return "linear"
    return "conv" if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) else ""
