"""What is tried next: grids in order, chance that repeats, and a search that learns."""

from __future__ import annotations

import random
import statistics

import pytest

from breedclf.errors import ConfigError
from breedclf.tuning.space import Categorical, Continuous, Integer
from breedclf.tuning.strategies import NotYet, Plan, grid, propose
from breedclf.tuning.trials import Trial, best_so_far, best_trial

SPACE = {"learning_rate": Continuous(0.001, 1.0, "log"), "batch_size": Categorical(16, 32, 64)}


def ran(index: int, values: dict, objective: float | None = 1.0, status: str = "Completed", **more) -> Trial:
    return Trial(name=f"t{index}", index=index, hyperparameters=values, objective=objective, status=status, **more)


def searched(plan: Plan, loss, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for index in range(count):
        values = propose(plan, trials)
        assert values is not None
        trials.append(ran(index, values, loss(values)))
    return trials


def bowl(values: dict) -> float:
    return abs(values["learning_rate"] - 0.1) + (0.0 if values["batch_size"] == 32 else 0.3)


def test_a_grid_has_every_combination_once_in_order() -> None:
    space = {
        "learning_rate": Categorical(0.005, 0.0075, 0.01),
        "batch_size": Categorical(32, 64),
        "epochs": Categorical(2, 3),
    }
    plan = Plan(space, "grid")
    trials = searched(plan, lambda values: values["learning_rate"], 12)
    assert [trial.hyperparameters for trial in trials] == grid(space)
    assert trials[0].hyperparameters == {"learning_rate": 0.005, "batch_size": 32, "epochs": 2}
    assert trials[1].hyperparameters == {"learning_rate": 0.005, "batch_size": 32, "epochs": 3}
    assert propose(plan, trials) is None


def test_a_grid_takes_ranges_only_with_points() -> None:
    with pytest.raises(
        ConfigError, match=r"only takes categorical parameters, and learning_rate is a range.*grid_points=3"
    ):
        grid(SPACE)
    assert [point["learning_rate"] for point in grid(SPACE, 4)][::3] == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert [point["epochs"] for point in grid({"epochs": Integer(2, 4)}, 9)] == [2, 3, 4]
    with pytest.raises(ConfigError, match="at least 2 points"):
        grid(SPACE, 1)


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_a_seed_repeats_a_search_and_another_seed_does_not(strategy) -> None:
    first, again, other = (searched(Plan(SPACE, strategy, seed=seed), bowl, 8) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_no_point_is_tried_twice_and_a_small_space_ends(strategy) -> None:
    space = {"batch_size": Categorical(16, 32, 64), "epochs": Integer(2, 3)}
    plan = Plan(space, strategy)
    trials = searched(plan, lambda values: values["batch_size"], 6)
    assert len({tuple(trial.hyperparameters.values()) for trial in trials}) == 6
    assert propose(plan, trials) is None


def test_bayesian_learns_where_random_only_draws() -> None:
    def best(strategy, seed):
        return best_trial(searched(Plan(SPACE, strategy, seed=seed), bowl, 25), "minimize").objective

    seeds = range(6)
    assert statistics.mean(best("bayesian", s) for s in seeds) < statistics.mean(best("random", s) for s in seeds)


def test_bayesian_waits_for_the_results_it_depends_on_only() -> None:
    plan = Plan(SPACE, "bayesian", max_parallel=2)
    done = searched(plan, bowl, 6)
    running = ran(6, propose(plan, done), None, "InProgress")
    beside = propose(plan, [*done, running])
    assert beside is not None and beside != running.hyperparameters
    with pytest.raises(NotYet):
        propose(plan, [*done, running, ran(7, beside)])


def test_bayesian_repeats_whatever_the_order_of_endings() -> None:
    plan = Plan(SPACE, "bayesian", max_parallel=2)
    done = searched(plan, bowl, 6)
    sixth = propose(plan, done)
    late = propose(plan, [*done, ran(6, sixth, None, "InProgress")])
    early = propose(plan, [*done, ran(6, sixth, bowl(sixth))])
    assert late == early


def test_bayesian_leaves_out_failures_and_learns_from_stopped_trials() -> None:
    plan = Plan(SPACE, "bayesian")
    done = searched(plan, bowl, 6)
    failed = [*done[:5], ran(5, done[5].hyperparameters, None, "Failed", failure_reason="out of memory")]
    assert propose(plan, failed) is not None
    stopped = [*done[:5], ran(5, done[5].hyperparameters, None, "Stopped", history=(5.0, 4.0))]
    assert propose(plan, stopped) is not None


def test_hundreds_of_random_draws_cover_the_space_evenly() -> None:
    values = [
        propose(Plan(SPACE, "random", seed=random.Random(5).randrange(9)), [ran(i, {}) for i in range(n)])
        for n in range(300)
    ]
    assert sum(each["learning_rate"] < 0.0316 for each in values) == pytest.approx(150, abs=35)
    assert {each["batch_size"] for each in values} == {16, 32, 64}


def test_the_best_is_the_earliest_of_equals_among_the_completed() -> None:
    trials = [
        ran(0, {}, 0.5), ran(1, {}, 0.1, "Stopped"), ran(2, {}, 0.4), ran(3, {}, 0.4),
        ran(4, {}, None), ran(5, {}, None, "Failed"),
    ]  # fmt: skip
    assert best_trial(trials, "minimize").name == "t2"
    assert best_trial(trials[::-1], "minimize").name == "t2"
    assert best_trial(trials, "maximize").name == "t0"
    assert best_trial(trials[4:], "minimize") is None
    assert best_so_far(trials, "minimize") == [0.5, 0.5, 0.4, 0.4, 0.4, 0.4]
