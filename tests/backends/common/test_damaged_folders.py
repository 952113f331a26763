"""Folders of jobs, endpoints and searches whose files were damaged: each is shown so, and the others as always."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from breedclf import LocalBackend
from breedclf.backends.common.folder import JobFolder, JobState, create_job_folder, job_folder
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order
from breedclf.cli import main
from breedclf.errors import BreedclfError, EndpointError, JobError
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus
from breedclf.tuning.in_process import InProcessRunner
from breedclf.tuning.study import StudyFolder

Change = Callable[[dict[str, Any]], object]
NO_PROCESS = {"pid": os.getpid(), "create_time": 1.0}


def without(*names: str) -> Change:
    def change(values: dict[str, Any]) -> None:
        for name in names[:-1]:
            values = values[name]
        del values[names[-1]]

    return change


def having(path: str, value: object) -> Change:
    def change(values: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        for name in folders:
            values = values[name]
        values[last] = value

    return change


def job_at(home: Path, name: str, created: float = 1000.0) -> JobFolder:
    """A job that has ended."""
    folder = create_job_folder(home, JobSpec(name=name), backend="local", options={}, now=created)
    state = folder.read()
    ended = state.description.entered(
        SecondaryStatus.COMPLETED, created + 5, status=JobStatus.COMPLETED, started=created, ended=created + 5
    )
    folder.write(JobState(state.spec, ended, "local", {}))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("description"), "'description' is missing"),
        (without("description", "status"), "status is missing"),
        (without("description", "created"), "created is missing"),
        (without("version"), "'version' is missing"),
        (having("description.status", "Asleep"), "status: expected one of InProgress, .*, not 'Asleep'"),
        (having("description.status", ["Failed"]), "status: expected one of"),
        (having("description.secondary_status", None), "secondary_status: expected one of"),
        (having("description.created", "monday"), "created: expected a float, not 'monday'"),
        (having("description.created", 1e300), "created: expected a number from 0 to"),
        (having("description.created", float("nan")), "created: expected a number from 0 to"),
        (having("description.ended", {}), "ended: expected a float"),
        (having("description.hyperparameters", []), r"hyperparameters: expected an object, not \[\]"),
        (having("description.metrics", {"loss": "low"}), "metrics.loss: expected a float, not 'low'"),
        (having("description.transitions", [{"status": "Failed"}]), r"transitions\.0\.time is missing"),
        (having("description.name", "other"), "it belongs to job other"),
        (having("description", 7), "not subscriptable|a table"),
    ],
)
def test_one_damaged_job_is_shown_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: Change, words: str
) -> None:
    for name in ("first", "broken", "last"):
        job_at(tmp_path, name)
    file = job_folder(tmp_path, "broken").state_file
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path))

    assert main(["jobs", "list"]) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {"first": "Completed", "broken": "Damaged", "last": "Completed"}
    assert main(["jobs", "list", "--json"]) == 0
    listed = next(job for job in json.loads(capsys.readouterr().out)["jobs"] if job["name"] == "broken")
    assert listed["details"] == {"damaged": True}
    with pytest.raises(JobError, match=rf"broken/job\.json is damaged \(.*({words})"):
        LocalBackend(tmp_path).describe("broken")
    assert main(["jobs", "show", "broken"]) == 4
    assert "`breedclf jobs clean broken` deletes it" in capsys.readouterr().err
    assert main(["jobs", "clean", "broken"]) == 0
    assert {job.name for job in LocalBackend(tmp_path).list_jobs()} == {"first", "last"}


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"job"', "[" * 100_000, '{"version": 1}', "\xff\xfe"])
def test_a_state_file_that_is_not_a_state(tmp_path: Path, text: str) -> None:
    job_at(tmp_path, "whole")
    job_at(tmp_path, "broken").state_file.write_bytes(text.encode("latin-1"))
    backend = LocalBackend(tmp_path)
    assert {job.name: job.details.get("damaged", False) for job in backend.list_jobs()} == {
        "whole": False,
        "broken": True,
    }
    backend.delete("broken")
    assert [job.name for job in backend.list_jobs()] == ["whole"]


@pytest.mark.parametrize(
    "change",
    [
        without("spec", "name"),
        having("spec.channels", {"training": 5}),
        having("spec.max_runtime_seconds", -1),
        having("supervisor", {"pid": "7"}),
        having("process", [1]),
        having("options", None),
    ],
)
def test_damaged_fields_that_only_a_running_job_needs(tmp_path: Path, change: Change) -> None:
    folder = create_job_folder(tmp_path, JobSpec(name="running"), backend="local", options={}, now=1000.0)
    values = json.loads(folder.state_file.read_text())
    change(values)
    folder.state_file.write_text(json.dumps(values))
    (listed,) = LocalBackend(tmp_path).list_jobs()
    assert listed.details == {"damaged": True}


def test_files_that_are_not_jobs_are_skipped(tmp_path: Path) -> None:
    job_at(tmp_path, "job")
    (tmp_path / "jobs" / "notes.txt").write_text("mine")
    (tmp_path / "jobs" / "My folder!").mkdir()
    assert [job.name for job in LocalBackend(tmp_path).list_jobs()] == ["job"]


def test_metrics_around_damaged_events(tmp_path: Path) -> None:
    folder = job_at(tmp_path, "job")
    folder.add_event("metrics", 1.0, values={"loss": 0.5})
    with folder.events_file.open("ab") as file:
        file.write(b'[1]\n{"kind": 3}\n{"kind": "metrics", "time": 1}\n\xff\xfe\nnull\n' + b"[" * 100_000 + b"\n")
    folder.add_event("metrics", 2.0, values={"loss": 0.25})
    assert [record.values["loss"] for record in folder.metric_history()] == [0.5, 0.25]


def endpoint_at(home: Path, name: str) -> EndpointFolder:
    """An endpoint whose supervisor is gone."""
    folder = EndpointFolder(home / "endpoints" / name)
    folder.path.mkdir(parents=True)
    folder.write_order(Order(name, 1, 1000.0, None, None, None, 0))
    folder.write_state(EndpointDescription(name, EndpointStatus.IN_SERVICE, 1000.0), NO_PROCESS)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("endpoint.json", ""),
        ("endpoint.json", "{}"),
        ("endpoint.json", "[" * 100_000),
        (
            "endpoint.json",
            json.dumps({"description": {"name": "broken", "status": "Asleep"}, "supervisor": NO_PROCESS}),
        ),
        ("endpoint.json", json.dumps({"description": {"name": "x", "status": "Failed", "created": "a"}})),
        ("order.json", ""),
        ("order.json", json.dumps({"name": "broken"})),
    ],
)
def test_one_damaged_endpoint_is_shown_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str, text: str
) -> None:
    endpoint_at(tmp_path, "first")
    broken = endpoint_at(tmp_path, "broken")
    if file == "order.json":
        (broken.path / "endpoint.json").unlink()
    (broken.path / file).write_text(text)
    (tmp_path / "endpoints" / "My folder!").mkdir()
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path))
    with pytest.raises(EndpointError, match=f"{file} is damaged"):
        broken.read_state()
        broken.read_order()
    assert main(["endpoints", "list", "--json"]) == 0
    reasons = {each["name"]: each["failure_reason"] for each in json.loads(capsys.readouterr().out)}
    assert set(reasons) == {"first", "broken"}
    assert reasons["first"].startswith("its supervisor is gone")
    assert f"{file} is damaged" in reasons["broken"]
    assert main(["endpoints", "delete", "broken"]) == 0
    assert not broken.path.exists()
    assert main(["endpoints", "reap"]) == 0
    assert [path.name for path in (tmp_path / "endpoints").iterdir() if path.is_dir()] == ["My folder!"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"schema_version": 1}', '{"schema_version": "1"}'])
def test_the_error_of_a_damaged_search_names_the_fix(tmp_path: Path, text: str) -> None:
    folder = StudyFolder(tmp_path / "search")
    folder.path.mkdir()
    folder.file.write_text(text)
    with pytest.raises(
        BreedclfError, match=r"(?s)tuning job 'search' (can't be read|is damaged).*or delete its folder"
    ):
        folder.load()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"status": "Asleep"}', "[" * 100_000])
def test_a_trial_with_a_damaged_record_is_tried_again(tmp_path: Path, text: str) -> None:
    runner = InProcessRunner(tmp_path)
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "trial.json").write_text(text)
    snapshot = runner.snapshot("trial")
    assert snapshot is not None
    assert snapshot.lost
    assert "is damaged" in (snapshot.failure_reason or "")
