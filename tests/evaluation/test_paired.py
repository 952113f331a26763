"""Tests of pairs against values of other programs and by counting."""

from __future__ import annotations

from itertools import product
from statistics import NormalDist

import pytest

from breedclf.evaluation.paired import mcnemar, paired_t


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
