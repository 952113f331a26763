"""How well "none of these" works: which test images are refused, and which images unlike all classes are answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from breedclf.evaluation.result import Probabilities, Result, wilson_interval

Distances = npt.NDArray[np.floating]

CURVE_POINTS = 100
EXAMPLES = 12


class Answered(Result):
    """An image with its most probable class, and its distance to the model's feature bank."""

    path: str
    predicted: str
    probability: float
    distance: float


class Refused(Result):
    """The images of the split whose answer is "none of these".

    `by_distance` of the `count` images are too far from the training images, `by_confidence` have too low a
    probability, and `by_both` are among both. `farthest` are those with the largest distance.
    """

    count: int
    by_distance: int
    by_confidence: int
    by_both: int
    farthest: tuple[Answered, ...]


class CurvePoint(Result):
    """With this threshold, the shares of the split's images and of the images unlike them that are close enough."""

    threshold: float
    kept: float
    let_through: float


class Unlike(Result):
    """How images that are none of the model's classes are answered; `let_through` is the share answered as known.

    `auroc` is the probability that such an image is farther from the training images than one of the split. `shared`
    of them are among the images of the split, too. `nearest` are those with the smallest distance that were answered.
    `skipped` says why images were left out.
    """

    count: int
    auroc: float
    let_through: float
    let_through_interval: tuple[float, float]
    shared: int
    curve: tuple[CurvePoint, ...]
    nearest: tuple[Answered, ...]
    skipped: tuple[str, ...] = ()


def are_near(distances: Distances, threshold: float) -> npt.NDArray[np.bool_]:
    """Which images are close enough to the training images, as predictions decide it."""
    return np.asarray(distances.astype(np.float64) <= threshold)


def are_confident(probabilities: Probabilities, min_confidence: float | None) -> npt.NDArray[np.bool_]:
    """Which images have a class that is probable enough."""
    return np.asarray(probabilities.max(axis=1) >= (min_confidence or 0.0))


def refused(
    distances: Distances,
    probabilities: Probabilities,
    threshold: float,
    min_confidence: float | None,
    labels: Sequence[str],
    paths: Sequence[PurePath | str],
) -> Refused:
    """The images that a model answers with "none of these".

    Args:
        distances: to the feature bank, [N].
        probabilities: [N, C].
        threshold: the largest distance of known images.
        min_confidence: the lowest probability of known images, if there is one.
        labels: the C classes.
        paths: the names of the N images.
    """
    far, unsure = ~are_near(distances, threshold), ~are_confident(probabilities, min_confidence)
    found = np.flatnonzero(far | unsure)
    order = found[np.argsort(-distances[found], kind="stable")]
    return Refused(
        count=len(found),
        by_distance=int(far.sum()),
        by_confidence=int(unsure.sum()),
        by_both=int((far & unsure).sum()),
        farthest=_answered(order, distances, probabilities, labels, paths),
    )


def unlike(
    own: Distances,
    distances: Distances,
    probabilities: Probabilities,
    threshold: float,
    min_confidence: float | None,
    labels: Sequence[str],
    paths: Sequence[PurePath | str],
    *,
    shared: int = 0,
    skipped: Sequence[str] = (),
) -> Unlike:
    """The metrics of images that are none of the classes.

    Args:
        own: distances of the split's images, [N].
        distances: those of M other images, [M].
        probabilities: of the other images, [M, C].
        threshold: the largest distance of known images.
        min_confidence: the lowest probability of known images, if there is one.
        labels: the C classes.
        paths: the names of the M images.
        shared: how many of them are among the split's, too.
        skipped: the reasons of images that were left out.
    """
    answered = np.flatnonzero(are_near(distances, threshold) & are_confident(probabilities, min_confidence))
    order = answered[np.argsort(distances[answered], kind="stable")]
    return Unlike(
        count=len(distances),
        auroc=auroc(own, distances),
        let_through=len(answered) / len(distances),
        let_through_interval=wilson_interval(len(answered), len(distances)),
        shared=shared,
        curve=curve(own, distances, threshold),
        nearest=_answered(order, distances, probabilities, labels, paths),
        skipped=tuple(skipped),
    )


def auroc(inside: Distances, outside: Distances) -> float:
    """The probability that a value of `outside` is larger than one of `inside`; equal ones count half.

    This is the area under the receiver operating characteristic (Hanley and McNeil, The meaning and use of the area
    under a receiver operating characteristic curve, 1982).

    Example:
        >>> import numpy as np
        >>> auroc(np.array([0.1, 0.2]), np.array([0.2, 0.3]))
        0.875
    """
    ordered = np.sort(inside)
    smaller, not_larger = (np.searchsorted(ordered, outside, side=side) for side in ("left", "right"))
    return float((smaller + not_larger).mean()) / (2 * len(inside))


def curve(
    inside: Distances, outside: Distances, threshold: float, points: int = CURVE_POINTS
) -> tuple[CurvePoint, ...]:
    """The shares at or below each of at most `points` thresholds, ascending; the model's own is one of them.

    Example:
        >>> import numpy as np
        >>> [(point.kept, point.let_through) for point in curve(np.array([0.1, 0.2]), np.array([0.9]), 0.3)]
        [(0.5, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    """
    own, others = np.sort(inside.astype(np.float64)), np.sort(outside.astype(np.float64))
    steps = np.unique(np.concatenate([own, others]))
    if len(steps) >= points:
        steps = steps[np.linspace(0, len(steps) - 1, points - 1).round().astype(int)]
    return tuple(
        CurvePoint(
            threshold=float(step),
            kept=float(np.searchsorted(own, step, side="right")) / len(own),
            let_through=float(np.searchsorted(others, step, side="right")) / len(others),
        )
        for step in np.unique(np.append(steps, threshold))
    )


def _answered(
    rows: npt.NDArray[np.intp],
    distances: Distances,
    probabilities: Probabilities,
    labels: Sequence[str],
    paths: Sequence[PurePath | str],
) -> tuple[Answered, ...]:
    return tuple(
        Answered(
            path=str(paths[row]),
            predicted=labels[int(probabilities[row].argmax())],
            probability=float(probabilities[row].max()),
            distance=float(distances[row]),
        )
        for row in rows[:EXAMPLES].tolist()
    )
