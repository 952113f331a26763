"""The temperature that makes a model's probabilities mean what they say, fitted on images that weren't trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from breedclf.inference.calibration import Calibration

ENOUGH_IMAGES = 200
"""With this many validation images they alone decide the temperature."""

_PRIOR_DEVIATION = 0.35
_STEPS = 16
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Scores:
    """Scores float64 [N, C] of images that weren't trained on, and their classes int64 [N]."""

    values: torch.Tensor
    targets: torch.Tensor

    def nll(self, temperature: float = 1.0) -> float:
        """The mean negative log-likelihood in nats of the scores divided by a temperature."""
        return float(F.cross_entropy(self.values / temperature, self.targets))

    def slope(self, temperature: float) -> float:
        """The derivative of `nll` with respect to the temperature's logarithm."""
        scaled = self.values / temperature
        expected = (scaled.softmax(1) * scaled).sum(1)
        return float((scaled.gather(1, self.targets[:, None])[:, 0] - expected).mean())

    def and_also(self, other: Scores) -> Scores:
        """These images and other ones."""
        return Scores(torch.cat([self.values, other.values]), torch.cat([self.targets, other.targets]))


def fitted_temperature(scores: Scores) -> float:
    """The most probable temperature, from 0.05 to 20.

    Its logarithm is normally distributed around 0 with a deviation of 0.35 before any image is seen, which matters for
    some dozens of images: without it, a few that are all classified correctly would give a temperature of 0. The cost
    has one minimum, which is found by bisection of its derivative.
    """
    count, low, high = len(scores.targets), math.log(_LOWEST), math.log(_HIGHEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if count * scores.slope(math.exp(middle)) + middle / _PRIOR_DEVIATION**2 < 0:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def calibration_of(valid: Scores, folds: Scores | None = None) -> Calibration:
    """The calibration of a model; its temperature never makes the likelihood of validation images worse.

    With scores of `folds`, a second temperature is fitted on these images and those of validation together. The nearer
    one to 1 is taken, and 1 if they don't agree on whether probabilities are too high or too low.

    Args:
        valid: of validation images.
        folds: of training images, by heads that weren't trained on them.
    """
    temperature = fitted_temperature(valid)
    if folds is not None:
        other = fitted_temperature(valid.and_also(folds))
        agree = (temperature - 1) * (other - 1) > 0
        temperature = min(temperature, other, key=lambda each: abs(math.log(each))) if agree else 1.0
    before, after = valid.nll(), valid.nll(temperature)
    if not after < before:
        temperature, after = 1.0, before
    return Calibration(
        temperature=temperature,
        nll_before=before,
        nll_after=after,
        images=len(valid.targets),
        source="valid" if folds is None else "folds",
    )
