"""The share of evidence on the border of images, where the subject rarely is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WIDTH = 1 / 7
"""Width of the border as a share of the side: one position of a map of 7 x 7."""

UNIFORM_BORDER_SHARE = 1 - (1 - 2 * _WIDTH) ** 2
"""The share of a map with equal values everywhere."""


def border_share(values: npt.NDArray[np.float32]) -> float:
    """The share of the positive values of a map [h, w] on its border; 0 if there are none.

    Example:
        >>> round(border_share(np.ones((7, 7), np.float32)), 3) == round(UNIFORM_BORDER_SHARE, 3)
        True
    """
    positive = np.maximum(values, 0).astype(np.float64)
    total = float(positive.sum())
    if total <= 0:
        return 0.0
    inner = np.outer(_inner_shares(values.shape[0]), _inner_shares(values.shape[1]))
    return 1 - float((positive * inner).sum()) / total


def _inner_shares(count: int) -> npt.NDArray[np.float64]:
    """The share of each of `count` equal intervals that isn't on the border."""
    edges = np.arange(count + 1) / count
    inside = np.clip(edges, _WIDTH, 1 - _WIDTH)
    shares: npt.NDArray[np.float64] = np.diff(inside) * count
    return shares
