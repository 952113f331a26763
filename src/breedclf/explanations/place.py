"""Where Grad-CAM looks: the last module whose output alone decides the scores, and does so at every position.

For a convolutional network that is its last map, for a transformer the tokens that enter its last block: of those that
leave it, the scores depend on the class token alone. Both are found by gradients, whatever the modules are.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

_MOST = 0.5
"""The share of positions that must have a gradient: an activation can be zero at some."""


@dataclass(frozen=True)
class Place:
    """A module's output as a map: the dimension of its channels, and the map's height and width.

    Tokens that stand for no position, such as the class token, come before the others.
    """

    module: nn.Module
    channels: int
    grid: tuple[int, int]

    def positions(self, value: torch.Tensor) -> torch.Tensor:
        """The positions of an output of one image, or of its gradient, as [h * w, C]."""
        rows = value.movedim(self.channels, -1)[0].flatten(0, -2)
        return rows[-self.grid[0] * self.grid[1] :]


def place_of(network: nn.Module, image: torch.Tensor) -> Place | None:
    """The place in a network from one image to scores; None if no module's output is one."""
    outputs = dict[nn.Module, torch.Tensor]()
    grids = dict[nn.Module, int]()
    largest, repeated = [0], set[nn.Module]()

    def remember(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim in (3, 4) and output.requires_grad:
            if isinstance(module, nn.Conv2d):
                largest[0] = output.shape[-1]
            repeated.update({module} & set(outputs))
            outputs[module], grids[module] = output, largest[0]

    with ExitStack() as hooks, _Differentiable():
        for module in network.modules():
            hooks.callback(module.register_forward_hook(remember).remove)
        scores = network(_random_like(image).requires_grad_())
        if not outputs:
            return None
        gradients = torch.autograd.grad(scores.sum(), list(outputs.values()), allow_unused=True)
    for (module, output), gradient in reversed(list(zip(outputs.items(), gradients, strict=True))):
        place = _as_map(module, tuple(output.shape), grids[module])
        if place is None or gradient is None or module in repeated:
            continue
        reached = (place.positions(gradient) != 0).any(dim=1).float().mean()
        if float(reached) > _MOST and _decides_alone(network, module, image):
            return place
    return None


def scores_from(network: nn.Module, module: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores [C] of one image, and the module's output, by which alone they can be differentiated."""
    held = list[torch.Tensor]()

    def start_here(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        held.append(output.detach().clone().requires_grad_())
        return held[-1] * 1  # the network may overwrite it

    with _Differentiable():
        hook = module.register_forward_hook(start_here)
        try:
            scores = network(image)[0]
        finally:
            hook.remove()
    return scores, held[-1]


def _as_map(module: nn.Module, shape: tuple[int, ...], grid: int) -> Place | None:
    """An output [1, C, h, w], [1, h, w, C] or [1, T, C]; None if it has one position. `grid` is the last convolution's
    side."""
    if len(shape) == 3:
        side = grid if 1 < grid**2 <= shape[1] else math.isqrt(shape[1])
        return Place(module, 2, (side, side)) if side > 1 else None
    channels, height, width = (1, *shape[2:]) if shape[2] == shape[3] else (3, *shape[1:3])
    return Place(module, channels, (height, width)) if height * width > 1 and shape[0] == 1 else None


def _decides_alone(network: nn.Module, module: nn.Module, image: torch.Tensor) -> bool:
    """Whether the image acts on the scores through this module's output only."""
    pixels = _random_like(image).requires_grad_()
    scores, output = scores_from(network, module, pixels)
    of_image, of_output = torch.autograd.grad(scores.sum(), [pixels, output], allow_unused=True)
    return of_image is None and of_output is not None


def _random_like(image: torch.Tensor) -> torch.Tensor:
    """An image of random values, which takes none from torch's global generator."""
    return torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(image)


class _Differentiable(ExitStack):
    """Records gradients, also inside of `torch.inference_mode()`."""

    def __init__(self) -> None:
        super().__init__()
        self.enter_context(torch.inference_mode(False))
        self.enter_context(torch.enable_grad())
