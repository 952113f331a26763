"""An exponential moving average (EMA) of the weights, validated and saved in place of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_WARMUP = 10


class MovingAverage:
    """The moving average of a module's floating-point state; the decay is lower in the first steps.

    After step n the decay is the minimum of `decay` and (1 + n) / (10 + n).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps: int = 0
        self.state: dict[str, torch.Tensor] = {
            name: value.detach().clone() for name, value in module.state_dict().items()
        }

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Update the average with the module's current weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (_WARMUP + self.steps))
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    @contextmanager
    def in_place_of(self, module: nn.Module) -> Iterator[None]:
        """Within it the module has the averaged weights; its own are restored afterwards."""
        own = {name: value.detach().clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(own)
