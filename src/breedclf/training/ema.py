"""A moving average of the weights, which is what is measured and kept when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_WARMUP = 10


class MovingAverage:
    """Follows a module's floating-point state; early on it forgets faster, so that the start doesn't weigh for long.

    After step n its decay is the least of `decay` and (1 + n) / (10 + n).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps: int = 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Take a step towards the module as it is now."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (_WARMUP + self.steps))
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    @contextmanager
    def in_place_of(self, module: nn.Module) -> Iterator[None]:
        """Within the block the module has the average's values; its own come back after."""
        own = {name: value.detach().clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(own)
