"""Which images are like each other: nearest neighbors, near duplicates and outliers, without an N x N matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breedclf.label_review.left_out import Floats

NEIGHBORS = 3
OUTLIER_NEIGHBOR = 5
_BLOCK_VALUES = 1 << 24
_MOST_TWINS_PER_IMAGE = 20
_SPREADS = 2.5
_SAME = 0.9999
_TWINS_OF_FEW = 0.95
_FEW = 20
_FAR_OUT = 3.0


@dataclass(frozen=True)
class Similarities:
    """Cosine similarities, from -1 to 1, of the features of N images.

    Args:
        neighbors: int64 [N, K], the rows of the most similar other images, the most similar first.
        similarities: float32 [N, K], theirs.
        distance: float32 [N], 1 minus the similarity to the fifth nearest image.
        class_distance: float32 [N], the same among the images of the given class; NaN if it has no others.
    """

    neighbors: NDArray[np.int64]
    similarities: Floats
    distance: Floats
    class_distance: Floats

    @classmethod
    def of(cls, features: Floats, labels: NDArray[np.int64]) -> Similarities:
        """Compare the features [N, D] of all images, in blocks of rows."""
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        count = len(unit)
        kept = min(count - 1, _MOST_TWINS_PER_IMAGE)
        neighbors, similarities = np.zeros((count, kept), np.int64), np.zeros((count, kept), np.float32)
        within = np.full(count, np.nan, np.float32)
        sizes = np.bincount(labels)
        step = max(1, _BLOCK_VALUES // count)
        for start in range(0, count, step):
            rows = np.arange(start, min(start + step, count))
            block = unit[rows] @ unit.T
            block[rows - start, rows] = -np.inf
            found = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
            values = np.take_along_axis(block, found, 1)
            order = np.argsort(-values, axis=1, kind="stable")
            neighbors[rows] = np.take_along_axis(found, order, 1)
            similarities[rows] = np.take_along_axis(values, order, 1)
            for label in np.unique(labels[rows]):
                others = min(OUTLIER_NEIGHBOR, int(sizes[label]) - 1)
                if others:
                    some = rows[labels[rows] == label]
                    same = block[some - start][:, labels == label]
                    within[some] = 1 - np.partition(same, -others, axis=1)[:, -others]
        fifth = min(OUTLIER_NEIGHBOR, kept) - 1
        return cls(neighbors, similarities, 1 - similarities[:, fifth], within)

    def twins_from(self) -> float:
        """The similarity from which two images are taken for one photo, by how similar nearest neighbors are here.

        It is 2.5 standard deviations above the usual similarity to the nearest image: median and median absolute
        deviation of the logarithm of the distance, which a few twins don't change.
        """
        if len(self.similarities) < _FEW:
            return _TWINS_OF_FEW
        logs = np.log(np.maximum(1 - self.similarities[:, 0], 1e-4).astype(np.float64))
        middle = float(np.median(logs))
        spread = 1.4826 * float(np.median(abs(logs - middle)))
        return float(min(_SAME, 1 - np.exp(middle - _SPREADS * spread)))

    def twins(self, least: float) -> list[tuple[int, int, float]]:
        """Pairs of rows, the lower one first, that are at least this similar, with their similarity."""
        rows, places = np.nonzero(self.similarities >= least)
        pairs = {}
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            other = int(self.neighbors[row, place])
            pairs[min(row, other), max(row, other)] = float(self.similarities[row, place])
        return [(one, other, value) for (one, other), value in sorted(pairs.items())]

    def outliers(self) -> list[int]:
        """The rows of images far from all others, the farthest first: beyond Tukey's outer fence of the distances."""
        low, high = np.quantile(self.distance, [0.25, 0.75])
        far = np.flatnonzero(self.distance > high + _FAR_OUT * max(float(high - low), 1e-3))
        return far[np.argsort(-self.distance[far], kind="stable")].tolist()  # type: ignore[no-any-return]


def connected(pairs: Iterable[tuple[int, int]], groups: Sequence[str]) -> list[str]:
    """The group of each image, empty if it is alone: images of one pair, or of one of the groups, are together.

    Example:
        >>> connected([(0, 1), (1, 2)], ["", "", "a", "a", ""])
        ['0', '0', '0', '0', '']
    """
    parent = list(range(len(groups)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    first: dict[str, int] = {}
    grouped = ((first.setdefault(group, row), row) for row, group in enumerate(groups) if group)
    for one, other in (*pairs, *grouped):
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(groups)):
        members[root(row)].append(row)
    found = [""] * len(groups)
    for low, rows in members.items():
        if len(rows) > 1:
            for row in rows:
                found[row] = str(low)
    return found
