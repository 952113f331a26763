"""The last layer: a linear one on features that are first brought to one scale, folded into a plain one at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.models.network import fold_scaling

_CONSTANT_FEATURE = 1e-6
MOMENTS_BATCH = 1024


def _as_they_are(inputs: torch.Tensor) -> torch.Tensor:
    return inputs


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation [D] of the training features; a feature that never varies keeps its scale."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(
        cls,
        source: FeatureSource,
        batch_size: int,
        *,
        features: Callable[[torch.Tensor], torch.Tensor] = _as_they_are,
        most: int | None = None,
    ) -> Self:
        """Measure a source in one pass, in float64.

        Args:
            source: gives inputs.
            batch_size: inputs at a time.
            features: makes features [B, D] of inputs.
            most: look at so many rows at most, spread evenly.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for inputs, _ in source.batches(_spread(len(source.targets), most), batch_size):
            wide = features(inputs).double()
            total, squares = total.to(wide.device) + wide.sum(0), squares.to(wide.device) + wide.square().sum(0)
            count += len(wide)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        constant = deviation < _CONSTANT_FEATURE * (1 + mean.abs())
        return cls(mean.float(), torch.where(constant, 1.0, deviation).float())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.deviation


class ScaledLinear(nn.Linear):
    """[B, D] to scores [B, classes]: features are shifted by `mean` and divided by `deviation` first."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class calls it so
        return super().forward((input - self.mean) / self.deviation)

    def use(self, scaling: Scaling) -> None:
        """Scale features so from now on."""
        self.mean.copy_(scaling.mean)
        self.deviation.copy_(scaling.deviation)

    def folded(self) -> nn.Linear:
        """The plain layer that does the same."""
        return fold_scaling(self, self.mean, self.deviation)


def new_head(features: int, classes: int, config: TrainingConfig) -> ScaledLinear:
    """The layer before the first step; it scales nothing yet.

    A standardised head starts at zero: its features are already on one scale, so that no random start is needed and
    two or three epochs aren't spent on forgetting one. A plain linear head starts as PyTorch's does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = ScaledLinear(features, classes)
    if config.head == "standardized":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def _spread(count: int, most: int | None) -> torch.Tensor:
    if most is None or count <= most:
        return torch.arange(count)
    return torch.arange(most) * count // most
