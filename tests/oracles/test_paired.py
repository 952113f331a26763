"""McNemar's exact test and the interval of a paired difference, from the answers to each image, by scipy."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.evaluation.paired import mcnemar, paired_difference_interval

stats = pytest.importorskip("scipy.stats", reason="make test-oracles runs this")
metrics = pytest.importorskip("sklearn.metrics", reason="make test-oracles runs this")

COUNTS = [(36, 2, 12, 0), (20, 2, 12, 16), (2134, 181, 102, 486), (5, 0, 3, 0), (0, 4, 4, 0), (11, 0, 0, 9)]


def _answers(counts: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """For each image whether the first and the second classifier are right."""
    first, second = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    return np.repeat(first, counts), np.repeat(second, counts)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_p_value(counts: tuple[int, int, int, int]) -> None:
    first, second = _answers(counts)
    wins, differing = int((second > first).sum()), int((second != first).sum())
    theirs = stats.binomtest(wins, differing).pvalue if differing else 1.0
    assert mcnemar(counts[1], counts[2]) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_interval_of_the_difference(counts: tuple[int, int, int, int]) -> None:
    """Wilson's intervals by scipy, and the correlation by scikit-learn, with Newcombe's continuity correction."""
    first, second = _answers(counts)
    n = len(first)
    correlation = metrics.matthews_corrcoef(first, second)
    if correlation > 0:
        both, only_first, only_second, neither = counts
        product = both * neither - only_first * only_second
        correlation *= max(0.0, 1 - n / 2 / product)
    ends = [stats.binomtest(int(each.sum()), n).proportion_ci(method="wilson") for each in (first, second)]
    (low_1, high_1), (low_2, high_2) = ((end.low, end.high) for end in ends)
    p_1, p_2 = first.mean(), second.mean()

    def length(one: float, other: float) -> float:
        """Of the third side of a triangle."""
        return float(np.sqrt(one**2 + other**2 - 2 * correlation * one * other))

    found = paired_difference_interval(*counts)
    assert found[0] == pytest.approx(p_2 - p_1 - length(high_1 - p_1, p_2 - low_2), abs=1e-9)
    assert found[1] == pytest.approx(p_2 - p_1 + length(p_1 - low_1, high_2 - p_2), abs=1e-9)


def test_the_interval_contains_the_true_difference() -> None:
    """In 95% of draws of many images, and not in fewer than 94% of draws of few."""
    draw = np.random.default_rng(0)
    for count, lowest, highest in ((24, 0.94, 1.0), (836, 0.94, 0.96)):
        shares = np.array([0.69, 0.01, 0.1, 0.2])
        inside = 0
        for counts in draw.multinomial(count, shares, size=4000).tolist():
            low, high = paired_difference_interval(*counts)
            inside += low <= 0.09 <= high
        assert lowest <= inside / 4000 <= highest
