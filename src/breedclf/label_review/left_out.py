"""A linear head whose prediction of each image is that of a head trained on all others, in closed form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
_CONSTANT_FEATURE = 1e-6
_LEAST_VARIANCE = 1e-7
_ALMOST_ALL = 1 - 1e-4


@dataclass(frozen=True)
class LeftOut:
    """Ridge regression of one-hot labels on standardized features, without the image that is predicted.

    The prediction of an image by a head that is trained on all others follows from the one head that is trained on all
    of them (Allen's PRESS, 1974), so that other labels cost one matrix product, not another training. Images of one
    group are left out together.

    Args:
        basis: float32 [N, R], the left singular vectors of the standardized features.
        variances: float32 [R], the squared singular values.
        groups: the rows of each group of more than one image.
    """

    basis: Floats
    variances: Floats
    groups: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, features: Floats, groups: Sequence[str]) -> Self:
        """Prepare features [N, D]; `groups` [N] has the group of each image, empty for none.

        Memory grows with N and with the smaller one of N and D squared.
        """
        mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
        deviation = np.where(deviation < _CONSTANT_FEATURE * (1 + abs(mean)), np.inf, deviation)
        scaled = ((features - mean) / (deviation * features.shape[1] ** 0.5)).astype(np.float32)
        count, width = scaled.shape
        gram = scaled @ scaled.T if count < width else scaled.T @ scaled
        variances, vectors = np.linalg.eigh(gram.astype(np.float64))
        used = variances > _LEAST_VARIANCE * max(1.0, float(variances[-1]))
        variances, vectors = variances[used], vectors[:, used]
        basis = vectors if count < width else scaled @ (vectors / np.sqrt(variances)).astype(np.float32)
        members: dict[str, list[int]] = defaultdict(list)
        for at, group in enumerate(groups):
            if group:
                members[group].append(at)
        shared = [np.array(rows) for rows in members.values() if len(rows) > 1]
        return cls(basis.astype(np.float32), variances.astype(np.float32), shared)

    def scores(self, labels: NDArray[np.int64], classes: int, penalty: float) -> Floats:
        """The scores float32 [N, C] of each image by a head that was trained on the others with these labels [N]."""
        targets = np.zeros((len(labels), classes), np.float32)
        targets[np.arange(len(labels)), labels] = 1
        shrinkage = np.append(self.variances / (self.variances + penalty), np.float32(1))
        intercept = np.full((len(labels), 1), len(labels) ** -0.5, np.float32)  # left out with its image, too
        basis = np.hstack([self.basis, intercept])
        fitted = basis @ (shrinkage[:, None] * (basis.T @ targets))
        own = np.minimum(np.square(basis) @ shrinkage, _ALMOST_ALL)[:, None]
        scores: Floats = (fitted - own * targets) / (1 - own)
        for rows in self.groups:
            scores[rows] = _without_group(basis[rows], shrinkage, targets[rows], fitted[rows])
        return scores


def _without_group(basis: Floats, shrinkage: Floats, targets: Floats, fitted: Floats) -> Floats:
    """The scores of the images of a group by a head that is trained without all of them."""
    residual = targets - fitted
    count, rank = basis.shape
    if count <= rank:
        lacking = np.eye(count) - (basis * shrinkage) @ basis.T
        corrected = np.linalg.lstsq(lacking, residual, rcond=None)[0]
    else:
        inner = np.diag(1 / shrinkage) - basis.T @ basis
        corrected = residual + basis @ np.linalg.lstsq(inner, basis.T @ residual, rcond=None)[0]
    found: Floats = (targets - corrected).astype(np.float32)
    return found
