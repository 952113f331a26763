"""Compares the predictions of an exported model with those of the original model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breedclf.exporting.formats import Outputs

TOLERANCE = 1e-4
"""Maximum difference of a probability (0 to 1) or a distance (0 to 2); rounding in another order explains about 1%."""

_TIE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """Differences between the predictions of the exported file and the model.

    `largest_difference` is the maximum over all probabilities of all images, from 0 to 1; `same_top1` counts the
    predictions with the same best class, out of `answers`. If an image's two best probabilities differ by less than
    0.00001, either class counts as the same. `largest_distance_difference` is that of distances to the feature bank (0
    to 2); None if the file has no bank.
    """

    answers: int
    same_top1: int
    largest_difference: float
    tolerance: float = TOLERANCE
    largest_distance_difference: float | None = None

    @property
    def agrees(self) -> bool:
        largest = max(self.largest_difference, self.largest_distance_difference or 0.0)
        return self.same_top1 == self.answers and largest <= self.tolerance

    def __str__(self) -> str:
        distances = self.largest_distance_difference
        and_distances = "" if distances is None else f", distances by {distances:.2g}"
        return (
            f"{self.same_top1} of {self.answers} predictions have the same best class, and probabilities differ by "
            f"{self.largest_difference:.2g} at most{and_distances} (allowed: {self.tolerance:g})"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(expected: Outputs, got: Outputs) -> Comparison:
    """Compare two results; a difference is infinite if shapes differ or values aren't finite."""
    distances = _largest_distance_difference(expected.distance, got.distance)
    rows, others = expected.probabilities, got.probabilities
    if rows.shape != others.shape or not np.isfinite(others).all():
        return Comparison(len(rows), 0, float("inf"), largest_distance_difference=distances)
    lead = rows.max(axis=1) - rows[np.arange(len(rows)), others.argmax(axis=1)]
    return Comparison(
        len(rows),
        int((lead <= _TIE).sum()),
        float(np.abs(rows - others).max()),
        largest_distance_difference=distances,
    )


def _largest_distance_difference(expected: NDArray[np.float32] | None, got: NDArray[np.float32] | None) -> float | None:
    if expected is None and got is None:
        return None
    if expected is None or got is None or expected.shape != got.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(expected - got).max())
