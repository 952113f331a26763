"""Journeys on tiny images: what runs again, what is refused, and what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from breedclf import Categorical, GateError, Journey, JourneyResult, ModelStore
from breedclf.errors import ConfigError, DataError, DiskError
from tests.journey.conftest import MakeJourney
from tests.journey.images import write_red_and_blue
from tests.journey.lines import Lines


def run_until_the_gate(journey: Journey, **choice: Any) -> Lines:
    """Run a journey whose gate refuses, so that nothing is deployed."""
    lines = Lines()
    with pytest.raises(GateError):
        journey.run(progress=lines, **choice)
    return lines


@pytest.mark.slow
def test_what_runs_again_and_why(journey: MakeJourney, tmp_path: Path) -> None:
    strict = {"gate": {"baseline": 0.99}}
    first = run_until_the_gate(journey(**strict))
    assert first.started == ["check", "backbones", "tune", "best", "profile", "evaluate", "review", "gate"]
    assert not (tmp_path / "out" / "profile" / "model").exists(), "only the best model is kept"

    again = run_until_the_gate(journey(**strict))
    assert again.started == ["gate"]
    assert "gate: Gate (the model was refused before) ..." in again.lines

    changed = journey(**strict, space={"learning_rate": Categorical(0.005)})
    assert [step.name for step in changed.plan().steps if step.runs][:3] == ["tune", "best", "profile"]
    lines = run_until_the_gate(changed)
    started = "tune: Search hyperparameters (changed since: learning_rate of the space (0.005,0.01 -> 0.005)) ..."
    assert started in lines.lines
    assert lines.started == ["tune", "best", "profile", "evaluate", "gate"]

    (tmp_path / "out" / "review.html").unlink()
    lines = run_until_the_gate(changed)
    assert lines.started == ["review", "gate"]
    assert "review: Review the labels (its files are gone) ..." in lines.lines

    result = JourneyResult.load(tmp_path / "out")
    assert result.refused
    assert result.best == {"learning_rate": 0.005}
    assert "Refused" in (result._repr_html_() or "")
    assert not ModelStore(tmp_path / "store").names

    lines = run_until_the_gate(changed, first="evaluate")
    assert lines.started == ["evaluate", "review", "gate"]
    assert changed.run(only="review").steps[-1].status == "Refused"


def test_a_step_that_needs_others_cannot_run_alone_before_them(journey: MakeJourney) -> None:
    with pytest.raises(ConfigError, match=r"--only evaluate needs step 'best', which hasn't run yet in .*out: repeat"):
        journey().run(only="evaluate")
    with pytest.raises(ConfigError, match="--only gate needs step 'best'"):
        journey().plan(only="gate")


def test_a_plan_writes_nothing(journey: MakeJourney, tmp_path: Path) -> None:
    plan = journey().plan()
    assert all(step.runs for step in plan.steps)
    assert plan.seconds is None
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


def test_a_changed_image_runs_everything_again_and_the_files_are_counted(tmp_path: Path, journey: MakeJourney) -> None:
    data = write_red_and_blue(tmp_path / "images")
    made = journey(data=data)
    made.run(only="check")
    assert not made.plan().steps[0].runs
    next(data.rglob("train/*/0.jpg")).unlink()
    step = made.plan().steps[0]
    assert (step.runs, step.reason) == (True, "changed since: 1 missing file of the dataset")


def test_two_journeys_into_one_output(journey: MakeJourney, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with FileLock(output / ".journey.lock"), pytest.raises(ConfigError, match=r"another journey is writing to .*out"):
        journey().run(only="check")
    journey().run(only="check")


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [("output", ConfigError, "choose another --output"), ("store", DiskError, "choose a folder that can be written")],
    ids=["output", "store"],
)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    setting: str, error: type[Exception], message: str, journey: MakeJourney, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    lines = Lines()
    with pytest.raises(error, match=message):
        journey(**{setting: tmp_path / "file" / "folder"}).run(progress=lines)
    assert not lines.lines


def test_a_damaged_record_is_not_overwritten(journey: MakeJourney, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    record = tmp_path / "out" / "journey.json"
    record.write_text("{")
    with pytest.raises(ConfigError, match=r"journey.json is damaged: .*; delete it to start the journey again"):
        journey().run(only="check")
    assert record.read_text() == "{"


def test_a_failed_step_is_recorded_and_runs_again(journey: MakeJourney, tmp_path: Path) -> None:
    data = write_red_and_blue(tmp_path / "images")
    bad = data / "train" / "001.Red" / "bad.jpg"
    bad.write_text("no image")
    with pytest.raises(DataError, match=r"bad\.jpg"):
        journey(data=data).run()
    record = json.loads((tmp_path / "out" / "journey.json").read_text())
    assert [(step["name"], step["status"]) for step in record["steps"]] == [("check", "Failed")]
    bad.unlink()
    result = journey(data=data).run(only="check")
    assert result.steps[0].status == "Completed"


def test_a_folder_without_a_journey_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no journey"):
        JourneyResult.load(tmp_path)
