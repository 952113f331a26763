"""Two classifiers on the same images: whether one is better, or the difference may be chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from breedclf.evaluation.result import NORMAL_95

LEVEL = 0.05
"""Classifiers with a p-value of at least this can't be distinguished."""


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test, two-sided: how likely a difference of this size is by chance alone.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    1947; the exact test is the binomial test of the images on which the two classifiers differ.

    Args:
        only_first: images that only the first classifier predicts correctly.
        only_second: images that only the second one does.

    Raises:
        ValueError: a count is negative.

    Example:
        >>> round(mcnemar(3, 12), 4), mcnemar(0, 0)
        (0.0352, 1.0)
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"{only_first} and {only_second} are not counts of images")
    differing, fewer = only_first + only_second, min(only_first, only_second)
    ways = tail = 1
    for number in range(1, fewer + 1):
        ways = ways * (differing - number + 1) // number
        tail += ways
    return min(1.0, 2 * tail / (1 << differing))


def paired_difference_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """The 95% interval of the second proportion minus the first, both measured on the same images.

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics
    in Medicine, 2005: Wald's interval after adding 0.5 to each of the four counts.

    Raises:
        ValueError: a count is negative, or more images differ than there are.

    Example:
        >>> tuple(round(bound, 3) for bound in paired_difference_interval(3, 12, 100))
        (0.013, 0.164)
    """
    if min(only_first, only_second) < 0 or only_first + only_second > count or count < 1:
        raise ValueError(f"{only_first} and {only_second} of {count} are not counts of images")
    first, second, total = only_first + 0.5, only_second + 0.5, count + 2
    center = (second - first) / total
    half = NORMAL_95 * math.sqrt(first + second - (second - first) ** 2 / total) / total
    return max(-1.0, center - half), min(1.0, center + half)


def p_text(p_value: float) -> str:
    """A p-value with as many digits as matter.

    Example:
        >>> p_text(0.04), p_text(0.00012), p_text(1.0)
        ('0.040', '<0.001', '1.000')
    """
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def equals(p_value: float) -> str:
    """The same with a sign before it, as in `p = 0.040`."""
    text = p_text(p_value)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def paired_t(differences: Sequence[float]) -> float:
    """The p-value of the paired t test, two-sided: how likely a mean difference of this size is by chance alone.

    Source: Student, "The probable error of a mean", 1908; the distribution is the finite series for whole degrees of
    freedom of M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.

    Args:
        differences: the first measurement minus the second, of each pair.

    Example:
        >>> round(paired_t([0.1, 0.3, 0.2, 0.4]), 4), paired_t([0.1])
        (0.0305, 1.0)
    """
    count = len(differences)
    mean = statistics.fmean(differences) if differences else 0.0
    if count < 2 or mean == 0:
        return 1.0
    error = statistics.stdev(differences) / math.sqrt(count)
    return 0.0 if error == 0 else _beyond(abs(mean) / error, count - 1)


def _beyond(t: float, freedom: int) -> float:
    """The probability that Student's t is farther from 0 than `t`."""
    angle = math.atan2(t, math.sqrt(freedom))
    squared = math.cos(angle) ** 2
    term, total = (math.cos(angle), 0.0) if freedom % 2 else (1.0, 0.0)
    for power in range(1 + freedom % 2, freedom, 2):
        total += term
        term *= squared * power / (power + 1)
    within = math.sin(angle) * total
    if freedom % 2:
        within = (angle + within) * 2 / math.pi
    return min(1.0, max(0.0, 1.0 - within))
