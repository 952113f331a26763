"""What is read from trials: importances, intervals, and the tables that show them."""

from __future__ import annotations

import io
import random

import pytest

from breedclf.config import TrainingConfig
from breedclf.tuning.analysis import accuracy_interval, importances, level_with_best
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical, Continuous
from breedclf.tuning.study import Study
from breedclf.tuning.table import LiveTable, summary_line, trial_table
from breedclf.tuning.trials import Trial

SPACE = {"learning_rate": Continuous(1e-6, 1.0), "batch_size": Categorical(32, 64), "epochs": Categorical(2, 3)}


def trials_of(outcome, count: int = 24) -> list[Trial]:
    draw = random.Random(1)
    trials = []
    for index in range(count):
        values = {
            "learning_rate": draw.random(),
            "batch_size": draw.choice((32, 64)),
            "epochs": draw.choice((2, 3)),
        }
        trials.append(
            Trial(
                name=f"t{index}",
                index=index,
                hyperparameters=values,
                status="Completed",
                objective=outcome(values),
                metrics={"valid_accuracy": 0.94},
            )
        )
    return trials


def test_importance_finds_what_mattered() -> None:
    found = importances(SPACE, trials_of(lambda v: v["learning_rate"] + 0.05 * (v["batch_size"] == 32)))
    assert found[0].name == "learning_rate"
    assert found[0].share > 0.8
    assert all(each.share < 0.1 for each in found[1:])


def test_importance_of_chance_is_next_to_nothing() -> None:
    draw = random.Random(3)
    shares = [each.share for _ in range(20) for each in importances(SPACE, trials_of(lambda _: draw.random()))]
    assert sum(shares) / len(shares) < 0.06


def test_importance_says_nothing_from_too_little() -> None:
    assert importances(SPACE, trials_of(lambda v: v["learning_rate"], count=3)) == []
    assert importances(SPACE, trials_of(lambda _: 1.0)) == []


def test_few_images_part_few_trials() -> None:
    assert accuracy_interval(0.94, 50) == pytest.approx((0.8378, 0.9794), abs=1e-3)
    trials = trials_of(lambda v: v["learning_rate"], count=5)
    poor = trials[0].model_copy(update={"metrics": {"valid_accuracy": 0.6}, "objective": 5.0})
    level = level_with_best([poor, *trials[1:]], "minimize", 50)
    assert poor not in level
    assert len(level) == 3
    assert level_with_best(trials, "minimize", None) == []


def study_of(trials: list[Trial], status: str = "InProgress") -> Study:
    request = SearchRequest(
        name="study", config=TrainingConfig(data="pictures"), space=SPACE, strategy="random", max_jobs=30
    )
    return Study(request=request, key="0123abcd", created=0.0, trials=trials, status=status)


def test_the_table_marks_the_best_and_keeps_failures() -> None:
    trials = trials_of(lambda v: v["learning_rate"], count=3)
    trials[1] = trials[1].model_copy(update={"status": "Failed", "objective": None, "failure_reason": "out of memory"})
    lines = trial_table(study_of(trials)).splitlines()
    best = min((trials[0], trials[2]), key=lambda trial: trial.objective)
    assert [line.split()[1] for line in lines if line.startswith("*")] == [best.name]
    assert "Failed" in lines[2]
    assert summary_line(study_of(trials)).startswith(
        "tuning job study: InProgress; 3 of 30 trials done; 1 failed; best"
    )


def test_the_live_table_is_drawn_in_place_on_a_terminal_only(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    trials = trials_of(lambda v: v["learning_rate"], count=2)
    terminal, file = io.StringIO(), io.StringIO()
    for stream, in_place in ((terminal, True), (file, False)):
        show = LiveTable(stream, in_place=in_place)
        show(study_of(trials[:1]))
        show(study_of(trials))
        show(study_of(trials))
    assert terminal.getvalue().count("\x1b[3A\x1b[J") == 1
    assert all(len(line.rpartition("\x1b[J")[2]) < 40 for line in terminal.getvalue().splitlines())
    assert "\x1b" not in file.getvalue()
    assert [line.split()[1] for line in file.getvalue().splitlines()] == ["t0", "t1"]
