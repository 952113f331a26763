"""Tests of pairs against values of other programs and by counting."""

from __future__ import annotations

from itertools import product
from statistics import NormalDist

import pytest

from breedclf.evaluation.paired import mcnemar, paired_difference_interval, paired_t


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 0.0625),
        (3, 12, 0.03515625),  # R: binom.test(3, 15)
        (21, 9, 0.04277394525706768),  # R: binom.test(9, 30)
        (86, 150, 3.716e-05),  # R's exact2x2 example of approval ratings: 3.716e-05
        (7, 7, 1.0),
    ],
)
def test_p_values(only_first: int, only_second: int, expected: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=2e-3 if expected < 1e-4 else 1e-12)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@pytest.mark.parametrize("differing", range(1, 11))
def test_p_values_are_the_share_of_outcomes_at_least_as_uneven(differing: int) -> None:
    outcomes = [sum(outcome) for outcome in product((0, 1), repeat=differing)]
    for wins in range(differing + 1):
        uneven = abs(2 * wins - differing)
        share = sum(abs(2 * other - differing) >= uneven for other in outcomes) / len(outcomes)
        assert mcnemar(wins, differing - wins) == pytest.approx(share, rel=1e-12)


def test_many_images() -> None:
    assert mcnemar(4_800, 5_200) == pytest.approx(6.59e-05, rel=0.01)
    assert mcnemar(0, 5_000) == 0.0


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 and 3 are not counts"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, table II, method 10
        ((20, 12, 2, 16), 0.0562, 0.3292),
    ],
    ids=["few-neither", "many-neither"],
)
def test_published_intervals(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    both, only_first, only_second, neither = counts
    found = paired_difference_interval(both, only_second, only_first, neither)
    assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert paired_difference_interval(*counts) == (pytest.approx(-found[1]), pytest.approx(-found[0]))


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_small_p_value_and_an_interval_with_zero_exclude_each_other(count: int) -> None:
    for both, first, second in product(range(count + 1), repeat=3):
        if (neither := count - both - first - second) >= 0:
            low, high = paired_difference_interval(both, first, second, neither)
            assert -1 <= low <= (second - first) / count <= high <= 1
            assert mcnemar(first, second) >= 0.05 or low > 0 or high < 0


def test_no_images_have_no_interval() -> None:
    with pytest.raises(ValueError, match="0, 0, 0 and 0 are not counts"):
        paired_difference_interval(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([], 1.0),
        ([0.5], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.5, 0.5, 0.5], 0.0),
        ([0.1, 0.3], 0.2951672353008665),  # R: t.test(c(.1, .3))
        ([1.0, 2.0, 3.0], 0.07417990022744853),
        ([0.1, 0.3, 0.2, 0.4], 0.030466291662170977),
        ([-0.1, 0.3, -0.2, 0.4, 0.1, 0.2], 0.27217910316618393),
    ],
)
def test_p_values_of_the_t_test(differences: list[float], expected: float) -> None:
    assert paired_t(differences) == pytest.approx(expected, rel=1e-12)
    assert paired_t([-each for each in differences]) == paired_t(differences)


def test_the_t_test_of_many_pairs_is_that_of_the_normal_distribution() -> None:
    differences = [0.02 + (-1) ** number for number in range(10_000)]
    assert paired_t(differences) == pytest.approx(2 * NormalDist().cdf(-2.0), rel=1e-3)
