"""Journeys: how far each is, whether it runs or was interrupted, and which files are its reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from breedclf.journey.record import RunBy, StepStatus
from breedclf.journey.settings import STEPS
from breedclf.overview.journeys import JourneyView, readable_report
from tests.console.running import overview_in
from tests.overview.planted import DEAD, add_journey

HERE = RunBy.this_process()
ELSEWHERE = HERE.model_copy(update={"host": "another-machine"})


def view_of(root: Path, name: str = "runs.dogs") -> JourneyView:
    view = overview_in(root).journey(name).value
    assert view is not None
    return view


@pytest.mark.parametrize(
    ("last", "status", "run_by", "expected", "step"),
    [
        ("clean-up", "Completed", None, "Completed", None),
        ("tune", "InProgress", HERE, "InProgress", "InProgress"),
        ("tune", "InProgress", DEAD, "Interrupted", "Interrupted"),
        ("tune", "InProgress", ELSEWHERE, "InProgress", "InProgress"),
        ("tune", "InProgress", None, "InProgress", "InProgress"),
        ("tune", "Completed", HERE, "InProgress", None),
        ("tune", "Completed", DEAD, "Interrupted", None),
        ("tune", "Completed", None, "Interrupted", None),
        ("profile", "Failed", None, "Failed", "Failed"),
        ("gate", "Refused", None, "Refused", "Refused"),
    ],
    ids=[
        "done", "running", "killed", "elsewhere", "earlier version", "next starts", "killed between", "stopped",
        "failed", "refused",
    ],
)  # fmt: skip
def test_states(
    tmp_path: Path, last: str, status: StepStatus, run_by: RunBy | None, expected: str, step: str | None
) -> None:
    add_journey(tmp_path / "runs" / "dogs", last=last, status=status, run_by=run_by)
    view = view_of(tmp_path)
    assert view.state == expected
    assert (None if view.now is None else view.now.state) == step
    assert [each.name for each in view.steps] == list(STEPS)
    planned = [each.name for each in view.steps if each.state == "Planned"]
    assert planned == list(STEPS[STEPS.index(last) + 1 :])
    assert view.is_known_to_run is (run_by.is_alive if run_by else None if status == "InProgress" else False)


def test_a_step_that_runs_has_its_start_and_the_time_it_took_before(tmp_path: Path) -> None:
    add_journey(tmp_path / "runs" / "dogs", last="tune", status="InProgress", run_by=HERE)
    view = view_of(tmp_path)
    assert view.now is not None
    assert view.now.started == view.changed
    assert view.now.expected == 12.5
    assert view.done == 2
    assert json.loads(json.dumps(view.to_dict()))["steps"][2]["status"] == "InProgress"


def test_journeys_are_found_and_vanish(tmp_path: Path) -> None:
    overview = overview_in(tmp_path)
    runs = tmp_path / "runs"
    assert overview.journeys().value == ()
    for folder in (runs, runs / "dogs", runs / "a" / "b" / "cats"):
        add_journey(folder)
    add_journey(runs / "a" / "b" / "c" / "deep")
    overview.folder_looks.forget()
    assert {view.title for view in overview.journeys().value or ()} == {"runs", "dogs", "a/b/cats"}
    shutil.rmtree(runs / "a")
    overview.folder_looks.forget()
    assert {view.name for view in overview.journeys().value or ()} == {"runs.", "runs.dogs"}
    assert "no journey runs.a.b.cats" in overview.journey("runs.a.b.cats").problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"schema_version": 99, "steps": []}', "newer breedclf"),
        ('{"schema_version": 1, "steps": [{"name": 3}]}', "damaged"),
        ('{"schema_version": "x"}', "damaged"),
    ],
    ids=["empty", "nested", "newer", "other fields", "no version"],
)
def test_a_damaged_record_says_so_and_the_others_are_read(tmp_path: Path, text: str, reason: str) -> None:
    add_journey(tmp_path / "runs" / "good")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "journey.json").write_text(text)
    views = {view.name: view for view in overview_in(tmp_path).journeys().value or ()}
    assert views["runs.good"].state == "Completed"
    assert views["runs.bad"].state == "Damaged"
    assert reason in views["runs.bad"].problem


def test_reports_are_files_of_the_journey_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "dogs"
    add_journey(folder)
    (tmp_path / "secret.html").write_text("secret")
    (folder / "tuning.html").write_text("report")
    (folder / "leads-out.html").symlink_to(tmp_path / "secret.html")
    (folder / "journey.html").write_text("page")
    view = view_of(tmp_path)
    assert view.reports == {"tuning.html", "journey.html"}  # the reports of other steps aren't there
    assert next(step for step in view.steps if step.name == "tune").report == "tuning.html"
    for report in (
        "../../secret.html",
        str(tmp_path / "secret.html"),
        "leads-out.html",
        "journey.json",
        "",
        "a\0.html",
    ):
        assert readable_report(folder, report) is None
