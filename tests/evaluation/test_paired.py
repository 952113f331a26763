"""McNemar's exact test against values of other programs and by counting."""

from __future__ import annotations

from itertools import product

import pytest

from breedclf.evaluation.paired import mcnemar


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
