"""The training loss: cross entropy with smoothed targets and class weights, whole or in parts, and mixup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from breedclf.config import ClassWeights


class BatchLoss(Protocol):
    """A mean over the images of a batch, whole or in parts."""

    def mean(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor: ...

    def part(self, scores: torch.Tensor, targets: torch.Tensor, whole: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class Loss:
    """Cross entropy of scores [B, C] and targets [B]; `weights` is [C], or None if all classes have equal weight."""

    weights: torch.Tensor | None = None
    smoothing: float = 0.0

    def mean(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over a whole batch, weighted by class."""
        return F.cross_entropy(scores, targets, weight=self.weights, label_smoothing=self.smoothing)

    def part(self, scores: torch.Tensor, targets: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """The contribution of some images to the mean over a batch; `whole` is the targets of that batch.

        Scores beyond `len(targets)` are ignored.
        """
        if not len(targets):
            return scores.sum() * 0.0
        total = F.cross_entropy(
            scores[: len(targets)], targets, weight=self.weights, label_smoothing=self.smoothing, reduction="sum"
        )
        return total / (len(whole) if self.weights is None else self.weights[whole].sum())


def class_weights(kind: ClassWeights, counts: Sequence[int]) -> torch.Tensor | None:
    """Weights [C] with which all classes have the same total weight, 1 on average over images; None for "none".

    A class without images has the weight 0.

    Example:
        >>> class_weights("balanced", [3, 1]).tolist()
        [0.6666666865348816, 2.0]
    """
    if kind == "none":
        return None
    numbers = torch.tensor(counts, dtype=torch.float64)
    present = numbers > 0
    weights = numbers.sum() / (present.sum() * numbers.clamp_min(1))
    return torch.where(present, weights, 0.0).float()


@dataclass(frozen=True)
class Blend:
    """Mixup of a batch: each input is blended with the one at `partner`, with weights `share` and 1 - `share`."""

    share: float
    partner: torch.Tensor

    @classmethod
    def draw(cls, alpha: float, size: int, *, seed: int, epoch: int, step: int) -> Blend:
        """A random blend that depends only on the arguments, so that a resumed run draws the same."""
        random = np.random.default_rng([seed, epoch, step])
        return cls(float(random.beta(alpha, alpha)), torch.from_numpy(random.permutation(size)))

    def inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """The blended inputs [B, ...]."""
        return self.share * inputs + (1 - self.share) * inputs[self.partner]

    def __call__(self, loss: torch.Tensor, loss_of_partners: torch.Tensor) -> torch.Tensor:
        """The blended loss."""
        return self.share * loss + (1 - self.share) * loss_of_partners
