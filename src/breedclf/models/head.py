"""The classification head: a linear layer on standardized features, folded into a plain layer for the artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.errors import WeightsError
from breedclf.models.initialization import DrawnFrom
from breedclf.models.network import fold_scaling, unfold_scaling

_CONSTANT_FEATURE = 1e-6
MOMENTS_BATCH = 1024


def _identity(inputs: torch.Tensor) -> torch.Tensor:
    return inputs


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation, float32 [D], of the training features; the deviation of a constant feature is 1."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(
        cls,
        source: FeatureSource,
        batch_size: int,
        *,
        features: Callable[[torch.Tensor], torch.Tensor] = _identity,
        most: int | None = None,
    ) -> Self:
        """Compute both in one pass over a source, in float64.

        Args:
            source: provides the inputs.
            batch_size: inputs per batch.
            features: maps a batch of inputs to features [B, D].
            most: use at most this many rows, evenly spaced.

        Raises:
            WeightsError: features are NaN or infinite.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for inputs, _ in source.batches(spread(len(source.targets), most), batch_size):
            wide = features(inputs).double()
            total, squares = total.to(wide.device) + wide.sum(0), squares.to(wide.device) + wide.square().sum(0)
            count += len(wide)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        if broken := int((~torch.stack([mean, deviation]).float().isfinite()).any(0).sum()):
            raise WeightsError(
                f"{broken} of {len(mean)} features of the training images are NaN or infinite: the weights don't suit "
                "the network, or exceed the range of a low precision (set precision=fp32); use other weights"
            )
        constant = deviation < _CONSTANT_FEATURE * (1 + mean.abs())
        return cls(mean.float(), torch.where(constant, 1.0, deviation).float())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.deviation


class ScaledLinear(nn.Linear):
    """Features [B, D] to scores [B, classes]; the features are shifted by `mean` and divided by `deviation` first.

    With `whitened` they are then multiplied by `whitening` [D, D].
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    whitening: torch.Tensor | None

    def __init__(self, features: int, classes: int, *, whitened: bool = False) -> None:
        super().__init__(features, classes)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("whitening", torch.eye(features) if whitened else None)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class's name
        scaled = (input - self.mean) / self.deviation
        return super().forward(scaled if self.whitening is None else scaled @ self.whitening)

    def use(self, scaling: Scaling, whitening: torch.Tensor | None = None) -> None:
        """Scale features by these moments, and whiten them, from now on."""
        self.mean.copy_(scaling.mean)
        self.deviation.copy_(scaling.deviation)
        if self.whitening is not None and whitening is not None:
            self.whitening.copy_(whitening)

    @torch.no_grad()
    def load_folded(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Compute what a plain linear layer with these weights computes on unscaled features."""
        weight, bias = unfold_scaling(weight, bias, self.mean, self.deviation)
        if self.whitening is not None:
            solved = torch.linalg.solve(self.whitening.cpu().double(), weight.double().T, left=True)
            weight = solved.T.float()
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def folded(self) -> nn.Linear:
        """An equivalent plain linear layer."""
        weight = self.weight.detach().cpu().double()
        if self.whitening is not None:
            weight = weight @ self.whitening.cpu().double().T
        return fold_scaling(weight, self.bias, self.mean, self.deviation)


def new_head(features: int, classes: int, config: TrainingConfig) -> ScaledLinear:
    """The head before the first step, from `features` inputs to `classes` outputs; it scales nothing yet.

    A standardized or whitened head starts at zero: with features on one scale it needs no random start, and saves the
    two or three epochs that it takes to unlearn one. A plain linear head is initialized as PyTorch does it.
    """
    with DrawnFrom(config.seed):
        head = ScaledLinear(features, classes, whitened=config.head == "whitened")
    if config.head != "linear":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def spread(count: int, most: int | None) -> torch.Tensor:
    """Up to `most` of the numbers 0 to `count` - 1, at equal distances; all if None."""
    if most is None or count <= most:
        return torch.arange(count)
    return torch.arange(most) * count // most
