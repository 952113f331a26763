"""`breedclf jobs` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf.backends.local.backend import LocalBackend
from breedclf.cli import main
from breedclf.jobs.handle import Job
from tests.waiting import PATIENCE_SECONDS

Submit = Callable[..., Job]


@pytest.fixture(autouse=True)
def _same_home(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(backend.home))


def ended(job: Job) -> Job:
    return job.wait(timeout=PATIENCE_SECONDS, check=False)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["jobs", *words]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_no_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no jobs" in said(capsys, "list")
    assert json.loads(said(capsys, "list", "--json")) == {"jobs": []}


def test_list_show_logs_and_clean(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    script = """
        print('breedclf-metrics {"epoch": 3}')
        raise SystemExit(2)
    """
    ended(submit("print('fine')", "good"))
    ended(submit(script, "bad"))
    assert [line.split()[:2] for line in said(capsys, "list").splitlines()[1:]] == [
        ["good", "Completed"],
        ["bad", "Failed"],
    ]
    for words in (["bad"], ["--status", "failed"], ["--newest", "1"], ["a", "--status", "Failed"]):
        assert [line.split()[0] for line in said(capsys, "list", *words).splitlines()[1:]] == ["bad"], words
    assert said(capsys, "list", "epochs=9") == "none of 2 jobs match\n"
    assert "list at least one job" in said(capsys, "list", "--newest", "0", code=2)
    shown = said(capsys, "show", "bad")
    assert "reason: the job's process ended with exit code 2" in shown
    assert "epoch = 3" in shown
    document = json.loads(said(capsys, "show", "bad", "--json"))
    assert (document["name"], document["status"], document["metrics"]) == ("bad", "Failed", {"epoch": 3})
    assert said(capsys, "logs", "good") == "fine\n"
    assert said(capsys, "logs", "-f", "good") == "fine\n"
    assert json.loads(said(capsys, "logs", "good", "--json")) == {"name": "good", "lines": ["fine"]}
    assert said(capsys, "clean", "good") == "deleted 1 job(s)\n"
    assert json.loads(said(capsys, "clean", "--older-than", "0", "--json")) == {"deleted": ["bad"]}
    assert json.loads(said(capsys, "list", "--json")) == {"jobs": []}


def test_stop_and_what_can_not_be_cleaned(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    job = submit("import time\ntime.sleep(300)")
    assert "job job is still InProgress" in said(capsys, "clean", "job", code=4)
    assert said(capsys, "stop", "job") == "asked job to stop\n"
    assert ended(job).status == "Stopped"
    assert said(capsys, "stop", "job") == "job has ended: Stopped\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "gone"], 4, "no job gone in"),
        (["show"], 2, "jobs show: name a job"),
        (["clean"], 2, "jobs clean: name the jobs to delete, or add --older-than DAYS"),
        (
            ["list", "--backend", "cloud"],
            2,
            "backend='cloud': choose emulator, inline, local, sagemaker, or",
        ),
        (["show", "a" * 64], 2, "has 64 characters; at most 63"),
    ],
)
def test_mistakes_are_told(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in said(capsys, *words, code=code)


def test_a_back_end_of_one_s_own_is_found_by_module_and_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no jobs" in said(capsys, "list", "--backend", "breedclf.backends.inline:InlineBackend")


def test_train_as_a_job_needs_its_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "gone"), "--backend", "local"]) == 3
    assert "is not an image folder" in capsys.readouterr().err
    assert main(["train", str(tmp_path), "--job-name", "x"]) == 2
    assert "--job-name x: only a job has a name; add --backend" in capsys.readouterr().err
