"""Compares the predictions of an exported model with those of the original model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4
"""Maximum difference of a probability (0 to 1); a different order of rounding explains about 1% of it."""

_TIE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """Differences between the predictions of the exported file and the model.

    `largest_difference` is the maximum over all probabilities of all images, from 0 to 1; `same_top1` counts the
    predictions with the same best class, out of `answers`. If an image's two best probabilities differ by less than
    0.00001, either class counts as the same.
    """

    answers: int
    same_top1: int
    largest_difference: float
    tolerance: float = TOLERANCE

    @property
    def agrees(self) -> bool:
        return self.same_top1 == self.answers and self.largest_difference <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.same_top1} of {self.answers} predictions have the same best class, and probabilities differ by "
            f"{self.largest_difference:.2g} at most (allowed: {self.tolerance:g})"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(expected: NDArray[np.float32], got: NDArray[np.float32]) -> Comparison:
    """Compare probabilities [N, C]; the difference is infinite if shapes differ or values aren't finite."""
    if expected.shape != got.shape or not np.isfinite(got).all():
        return Comparison(len(expected), 0, float("inf"))
    rows = np.arange(len(expected))
    lead = expected.max(axis=1) - expected[rows, got.argmax(axis=1)]
    return Comparison(len(expected), int((lead <= _TIE).sum()), float(np.abs(expected - got).max()))
