"""Whether an exported model answers as the model folder does: the figures, and the verdict over them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4
"""By how much a probability (0 to 1) may differ; rounding in another order explains about a hundredth of it."""

_TIE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """How the exported file's answers differ from the model folder's.

    `largest_difference` is that of any probability of any image, from 0 to 1; `same_top1` counts the answers whose
    best class is the same, out of `answers`. An image whose two best classes lie within 0.00001 counts as the same
    when either of them comes first.
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
            f"{self.same_top1} of {self.answers} answers have the same best class, and probabilities differ by "
            f"{self.largest_difference:.2g} at most (allowed: {self.tolerance:g})"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(expected: NDArray[np.float32], got: NDArray[np.float32]) -> Comparison:
    """Compare probabilities [N, C]; other shapes and values that are no numbers differ by infinity."""
    if expected.shape != got.shape or not np.isfinite(got).all():
        return Comparison(len(expected), 0, float("inf"))
    rows = np.arange(len(expected))
    lead = expected.max(axis=1) - expected[rows, got.argmax(axis=1)]
    return Comparison(len(expected), int((lead <= _TIE).sum()), float(np.abs(expected - got).max()))
