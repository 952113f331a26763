"""When a trial, and when the search, is stopped."""

from __future__ import annotations

import pytest

from breedclf.errors import ConfigError
from breedclf.tuning.stopping import Completion, ending_of, falls_behind
from breedclf.tuning.trials import Trial, direction_of


def ran(index: int, objective: float | None, status: str = "Completed", **more) -> Trial:
    return Trial(name=f"t{index}", index=index, hyperparameters={}, objective=objective, status=status, **more)


def ending(trials, seconds=0.0, max_jobs=10, direction="minimize", **criteria):
    return ending_of(Completion(**criteria), trials, max_jobs, seconds, direction)


def test_falls_behind_by_the_median_of_running_averages() -> None:
    earlier = [[1.0, 0.6], [0.8, 0.4], [0.4, 0.2]]  # averages up to epoch 2: 0.8, 0.6, 0.3
    assert falls_behind([9.0, 0.61], earlier, "minimize")
    assert not falls_behind([9.0, 0.6], earlier, "minimize")  # equal is not worse
    assert falls_behind([9.0, 0.59], earlier, "maximize")
    # The rule that takes each trial's best value instead would draw the line at 0.4.
    assert not falls_behind([9.0, 0.5], earlier, "minimize")


def test_only_trials_that_reached_the_epoch_are_compared_with() -> None:
    assert not falls_behind([0.9, 0.9], [[0.1]], "minimize")
    assert not falls_behind([0.9], [], "minimize")
    assert not falls_behind([], [[0.1]], "minimize")
    assert falls_behind([0.9], [[0.1], [0.2, 0.3]], "minimize")


def test_a_search_ends_at_its_target() -> None:
    assert ending([ran(0, 0.3)], target=0.2) is None
    assert "target objective 0.2 was reached by t1" in ending([ran(0, 0.3), ran(1, 0.2)], target=0.2).reason
    assert ending([ran(0, 0.9)], target=0.8, direction="maximize").halts
    assert ending([ran(0, 0.1, "Stopped")], target=0.2) is None


def test_a_search_ends_when_nothing_gets_better() -> None:
    trials = [ran(0, 0.3), ran(1, 0.4), ran(2, None, "Failed", failure_reason="x"), ran(3, 0.3)]
    assert ending(trials, not_improving=3) is None
    assert "3 trials in a row" in ending([*trials, ran(4, 0.9, "Stopped")], not_improving=3).reason


def test_a_search_ends_with_its_time_or_its_trials() -> None:
    assert ending([ran(0, 0.3)], seconds=59, max_seconds=60) is None
    assert ending([ran(0, 0.3)], seconds=60, max_seconds=60).halts
    last = ending([ran(0, 0.3), ran(1, None, "InProgress")], max_jobs=2)
    assert last is not None and not last.halts


def test_three_failures_for_one_reason_end_a_search_that_has_nothing_else() -> None:
    failed = [ran(i, None, "Failed", failure_reason="no such folder") for i in range(3)]
    assert "all trials failed for the same reason: no such folder" in ending(failed).reason
    assert ending(failed[:2]) is None
    assert ending([ran(0, 0.4), *failed[1:]]) is None
    assert ending([failed[0], failed[1], ran(2, None, "Failed", failure_reason="other")]) is None


@pytest.mark.parametrize(
    "criteria", [{"not_improving": 0}, {"max_seconds": 0}, {"target": float("nan")}, {"patience": 3}]
)
def test_refuses_criteria_that_mean_nothing(criteria) -> None:
    with pytest.raises(ConfigError, match=next(iter(criteria))):
        Completion(**criteria)


def test_an_objective_that_no_job_prints_is_named() -> None:
    assert direction_of("valid_accuracy") == "maximize"
    with pytest.raises(
        ConfigError, match=r"'valid_los' is not a metric that training jobs print.*did you mean 'valid_loss'"
    ):
        direction_of("valid_los")
    with pytest.raises(ConfigError, match="'epoch'"):
        direction_of("epoch")
