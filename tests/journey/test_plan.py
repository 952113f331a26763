"""Which steps run, and why: by what is recorded, what has changed and what was chosen."""

from __future__ import annotations

import pytest

from breedclf.errors import ConfigError
from breedclf.jobs.plan import Item, Plan
from breedclf.journey.plan import (
    Choice,
    Decision,
    JourneyPlan,
    PlannedStep,
    Situation,
    changes,
    decide,
    dependents,
)
from breedclf.journey.settings import STEPS

DONE = Situation("tune", ("backbones",), "Completed")


def decided(
    step: Situation, *, running: tuple[str, ...] = (), first: str | None = None, only: str | None = None
) -> str:
    decision = decide(step, Choice(first, only), STEPS, running)
    return f"{'runs' if decision.runs else 'skipped'}: {decision.reason}"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Situation("tune"), "runs: not done yet"),
        (DONE, "skipped: done before"),
        (Situation("tune", status="Skipped"), "skipped: done before"),
        (Situation("tune", status="InProgress"), "runs: it was interrupted"),
        (Situation("tune", status="Failed"), "runs: it failed before"),
        (Situation("gate", status="Refused"), "runs: the model was refused before"),
        (Situation("tune", status="Completed", changes=("epochs (2 -> 3)",)), "runs: changed since: epochs (2 -> 3)"),
        (Situation("tune", status="Completed", intact=False), "runs: its files are gone"),
        (Situation("deploy", status="Completed", this_run=True), "runs: it is part of every run"),
    ],
    ids=["new", "done", "skipped", "killed", "failed", "refused", "changed", "gone", "endpoint"],
)
def test_a_step_runs_for_a_reason(step: Situation, expected: str) -> None:
    assert decided(step) == expected


def test_a_step_runs_after_one_that_it_needs_but_not_after_others() -> None:
    assert decided(DONE, running=("check", "backbones")) == "runs: backbones runs, too"
    assert decided(DONE, running=("check",)) == "skipped: done before"


def test_from_repeats_the_step_and_all_after_it() -> None:
    assert decided(DONE, first="tune") == "runs: chosen"
    assert decided(DONE, first="check") == "runs: check runs again"
    assert decided(DONE, first="best") == "skipped: done before"


def test_only_repeats_one_step() -> None:
    assert decided(DONE, only="tune") == "runs: chosen"
    assert decided(Situation("best"), only="tune") == "skipped: not chosen"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("tunes"), "unknown step 'tunes': did you mean 'tune'?"),
        (Choice(only="x"), "unknown step 'x': valid names are"),
        (Choice("tune", "best"), "--from tune and --only best exclude each other"),
    ],
    ids=["typo", "unknown", "both"],
)
def test_a_wrong_choice_is_refused(choice: Choice, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        choice.check(STEPS)


def test_what_uses_a_result_directly_or_not() -> None:
    needs = {"tune": ("check",), "best": ("tune",), "gate": ("best",), "review": ("check",)}
    assert dependents("tune", needs) == {"best", "gate"}
    assert dependents("check", needs) == {"tune", "best", "gate", "review"}
    assert dependents("gate", needs) == set()


def test_changes_name_the_setting_and_its_values() -> None:
    before = {"training": {"seed": 0, "head": "linear"}, "space": {"epochs": "2,3"}, "max_jobs": None, "old": 1}
    after = {"training": {"seed": 1, "head": "linear"}, "space": {"epochs": "2,3", "mixup": "0,1"}, "max_jobs": 4}
    assert changes(before, after) == (
        "seed of the training (0 -> 1)",
        "mixup of the space (nothing -> 0,1)",
        "max_jobs (nothing -> 4)",
        "old (1 -> nothing)",
    )


def test_a_tuple_is_the_list_that_json_makes_of_it() -> None:
    assert changes({"names": ["a"], "share": 1.0}, {"names": ("a",), "share": 1.0}) == ()


def test_a_plan_says_what_is_unknown() -> None:
    done = PlannedStep("check", "Check", False, "done before", 3.0)
    new = PlannedStep("tune", "Search", True, "not done yet")
    timed = PlannedStep("best", "Take", True, "tune runs, too", 2.0)
    assert "duration: unknown, since none of these steps has run before" in str(JourneyPlan((done, new)))
    assert "duration: about 2 s, as in the run before, and the time of tune, which is unknown" in str(
        JourneyPlan((new, timed))
    )
    assert JourneyPlan((done, new)).seconds is None
    assert JourneyPlan((done, timed)).seconds == 2.0


def test_a_plan_adds_up_what_its_steps_cost() -> None:
    paid = Plan("eu-west-1", ("a job",), (Item("machine", 2.0, "hour", 0.5, "2026-01-01"),), (), (), ())
    unknown = Plan("eu-west-1", ("a job",), (Item("machine", None, "hour", 0.5, None, "no limit"),), (), (), ())
    step = PlannedStep("tune", "Search", True, "not done yet", cost=paid)
    assert JourneyPlan((step,)).cost == 1.0
    assert "costs at most $1.00" in str(JourneyPlan((step,)))
    assert JourneyPlan((step, PlannedStep("deploy", "Deploy", True, "", cost=unknown))).cost is None
    assert JourneyPlan((PlannedStep("tune", "Search", False, "done before", cost=paid),)).cost == 0
    assert JourneyPlan((step,)).to_dict()["steps"][0]["cost"]["cost"] == 1.0


def test_a_decision_can_be_compared() -> None:
    assert decide(DONE, Choice(), STEPS, ()) == Decision(False, "done before")
