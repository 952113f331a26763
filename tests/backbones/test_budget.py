"""Which candidates and how many images a budget allows."""

from __future__ import annotations

from collections import Counter

import pytest

from breedclf.backbones.budget import BudgetPlan, Cost, budget_in_seconds, even_order, fewest_images, planned
from breedclf.errors import ConfigError

TARGETS = [0] * 60 + [1] * 40
ORDER = even_order(TARGETS, 0)
FEWEST = fewest_images(TARGETS)


def affordable(costs: dict[str, Cost], seconds: float) -> BudgetPlan:
    """The plan if features may take `seconds`: nine tenths of what is left."""
    return planned(costs, ORDER, FEWEST, budget_seconds=3 + seconds / 0.9, spent_seconds=3)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("20m", 1200), ("20 min", 1200), ("1h", 3600), (" 0.5H ", 1800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert budget_in_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3m", "0", "0s", "5d", "1h30m", "m", "inf", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="isn't a duration: write seconds, or 90s, 20m, 1h"):
        budget_in_seconds(text)


def test_everything_fits() -> None:
    plan = affordable({"a": Cost(0.1), "b": Cost(0.4)}, 50.01)
    assert plan.candidates == ("a", "b")
    assert plan.images == tuple(range(100))
    assert not plan.left_out


def test_a_subset_is_the_same_for_all_and_even_over_the_classes() -> None:
    plan = affordable({"a": Cost(0.1), "b": Cost(0.4)}, 25.01)
    assert len(plan.images) == 50
    assert list(plan.images) == sorted(set(plan.images))
    assert Counter(TARGETS[at] for at in plan.images) == {0: 30, 1: 20}
    larger = affordable({"a": Cost(0.1), "b": Cost(0.4)}, 40)
    assert set(plan.images) < set(larger.images)


def test_stored_features_cost_nothing() -> None:
    costs = {"a": Cost(1.0, frozenset(range(100))), "b": Cost(0.1)}
    assert len(affordable(costs, 10.01).images) == 100


def test_a_candidate_too_expensive_for_the_fewest_images_is_left_out() -> None:
    plan = affordable({"slow": Cost(60.0), "a": Cost(0.1), "b": Cost(0.2)}, 30.01)
    assert plan.candidates == ("a", "b")
    assert plan.images == tuple(range(100))
    assert plan.left_out == {
        "slow": "its features of 10 images, the fewest for a comparison, would take about 10 min",
    }


def test_too_little_for_one_candidate() -> None:
    with pytest.raises(ConfigError) as caught:
        planned({"a": Cost(3.0), "b": Cost(2.0)}, ORDER, FEWEST, budget_seconds=12, spent_seconds=3)
    assert str(caught.value) == (
        "the budget of 12 s is too small for one candidate: loading and timing took 3 s, and the features of 10 "
        "images, the fewest for a comparison, take about 20 s with the fastest; give it at least 26 s"
    )


def test_the_fewest_images_have_all_of_a_small_class() -> None:
    targets = [0] * 90 + [1] * 2 + [2] * 8
    assert fewest_images(targets) == 12
    assert Counter(targets[at] for at in even_order(targets, 0)[:12]) == {0: 5, 1: 2, 2: 5}
