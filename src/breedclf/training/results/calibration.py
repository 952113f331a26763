"""The temperature that makes a model's probabilities mean what they say, fitted on validation images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from breedclf.inference.calibration import Calibration

_FEWEST_IMAGES = 30
_STEPS = 60
_LOWEST, _HIGHEST = 0.05, 20.0


def nll(scores: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood in nats of scores [N, C] divided by a temperature."""
    return float(F.cross_entropy(scores.double() / temperature, targets))


def fitted_temperature(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature with the lowest negative log-likelihood; 1 if none is lower than without it.

    The likelihood has one minimum in the inverse temperature, which is found by golden-section search on its logarithm.

    Args:
        scores: of images that weren't trained on, [N, C].
        targets: their classes, int64 [N].
    """
    low, high, ratio = math.log(_LOWEST), math.log(_HIGHEST), (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if nll(scores, targets, math.exp(left)) <= nll(scores, targets, math.exp(right)):
            high = right
        else:
            low = left
    best = math.exp((low + high) / 2)
    return best if nll(scores, targets, best) < nll(scores, targets) else 1.0


def calibration_of(scores: torch.Tensor, targets: torch.Tensor) -> Calibration:
    """The calibration of a model by its scores [N, C] of validation images with classes int64 [N]."""
    before = nll(scores, targets)
    if len(targets) < _FEWEST_IMAGES:
        return Calibration(temperature=1.0, nll_before=before, nll_after=before, images=len(targets), source="valid")
    temperature = fitted_temperature(scores, targets)
    after = nll(scores, targets, temperature)
    return Calibration(temperature=temperature, nll_before=before, nll_after=after, images=len(targets), source="valid")
