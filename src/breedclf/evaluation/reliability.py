"""Whether probabilities mean what they say: calibration error and reliability, and how large prediction sets are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from breedclf.evaluation.result import Probabilities, Result, Targets, wilson_interval

BINS = 10
FEWEST_IMAGES = 200


class ReliabilityBin(Result):
    """The `count` images whose best probability is above `low` and at most `high`: its mean, and their accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_interval: tuple[float, float]


class CalibrationResult(Result):
    """How honest the probabilities are on the images of the split.

    `nll_before` is the mean negative log-likelihood in nats without the model's `temperature`, `nll_after` with it.
    `ece` is the expected calibration error; it and `bins` need 200 images, and are None and empty with fewer.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece: float | None
    bins: tuple[ReliabilityBin, ...]


class CoverageResult(Result):
    """How often prediction sets contain the right class, when a share `asked` is asked for.

    `measured` is that share of the images, with its 95% interval; `sizes[i]` counts the sets of i + 1 classes.
    """

    asked: float
    measured: float
    interval: tuple[float, float]
    mean_size: float
    sizes: tuple[int, ...]


def reliability_bins(probabilities: Probabilities, targets: Targets, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The images by their best probability, in bins of equal width; empty ones are left out.

    Args:
        probabilities: [N, C].
        targets: the true classes, [N].
        bins: how many.
    """
    best, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    edges = np.linspace(0, 1, bins + 1)
    number = np.clip(np.searchsorted(edges, best, side="left") - 1, 0, bins - 1)
    found = []
    for each in range(bins):
        rows = number == each
        if count := int(rows.sum()):
            right = int(correct[rows].sum())
            found.append(
                ReliabilityBin(
                    low=float(edges[each]),
                    high=float(edges[each + 1]),
                    count=count,
                    confidence=float(best[rows].mean()),
                    accuracy=right / count,
                    accuracy_interval=wilson_interval(right, count),
                )
            )
    return tuple(found)


def expected_calibration_error(probabilities: Probabilities, targets: Targets, bins: int = BINS) -> float:
    """The mean distance between best probability and accuracy over bins, weighted by their images; from 0 to 1.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.

    Example:
        >>> import numpy as np
        >>> round(expected_calibration_error(np.array([[0.8, 0.2]] * 2), np.array([0, 1])), 3)
        0.3
    """
    return _calibration_error(reliability_bins(probabilities, targets, bins))


def _calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    return sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / sum(each.count for each in bins)


def calibration_result(
    probabilities: Probabilities, targets: Targets, temperature: float, nll_before: float, nll_after: float
) -> CalibrationResult:
    """The calibration on some images, whose probabilities [N, C] are those with the temperature."""
    bins = reliability_bins(probabilities, targets) if len(targets) >= FEWEST_IMAGES else ()
    return CalibrationResult(
        temperature=temperature,
        nll_before=nll_before,
        nll_after=nll_after,
        ece=_calibration_error(bins) if bins else None,
        bins=bins,
    )


def coverage_result(probabilities: Probabilities, targets: Targets, asked: float, limit: float) -> CoverageResult:
    """How often sets of classes contain the right one.

    Args:
        probabilities: [N, C], as precise as those of predictions.
        targets: the true classes, [N].
        asked: the share that was asked for.
        limit: 1 minus the lowest probability of a class in a set; the most probable class is always in it.
    """
    count = len(targets)
    in_set = 1 - probabilities.astype(np.float64) <= limit
    in_set[np.arange(count), probabilities.argmax(axis=1)] = True
    covered = int(in_set[np.arange(count), targets].sum())
    sizes = in_set.sum(axis=1)
    return CoverageResult(
        asked=asked,
        measured=covered / count,
        interval=wilson_interval(covered, count),
        mean_size=float(sizes.mean()),
        sizes=tuple(np.bincount(sizes)[1:].tolist()),
    )
