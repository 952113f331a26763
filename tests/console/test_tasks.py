"""Commands in the background: they end, fail, are stopped, outlive their console, and are bounded in number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from breedclf.backends.common.processes import Identity
from breedclf.console import tasks as console_tasks
from breedclf.console.tasks import find_task, start_task, stop_task, superfluous
from breedclf.errors import ConfigError
from breedclf.overview.tasks import TaskView, latest, shown_log, status_of, task_in, tasks_folder, tasks_in

CHECK = ["breedclf", "data", "check"]


def until(found: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < limit
        time.sleep(0.05)


def ended(home: Path, task: TaskView) -> TaskView:
    until(lambda: not find_task(home, task.name).is_active)
    return find_task(home, task.name)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands of breedclf run a program that goes on for a minute, unless it is asked to end."""
    package = tmp_path / "path/breedclf_stand_in"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text("import time, sys\nprint('on', flush=True, file=sys.stderr)\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.setattr(console_tasks, "PROGRAM", "breedclf_stand_in")


def test_a_command_that_fails_says_why_and_one_that_finds_problems_has_a_result(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "data; touch pwned/cat").mkdir(parents=True)
    gone = start_task(home, "check", "gone", [*CHECK, str(tmp_path / "gone")])
    there = start_task(
        home, "check", "there", [*CHECK, str(tmp_path / "data; touch pwned"), "--cache-dir", str(tmp_path)]
    )
    assert gone.is_active
    failed = ended(home, gone)
    assert (failed.status, failed.exit_code) == ("Failed", 3)
    assert "does not exist" in failed.log()
    assert failed.result() is None
    found = ended(home, there)
    assert (found.status, found.exit_code) == ("Completed", 1)
    assert [each["kind"] for each in (found.result() or {})["problems"]] == ["no_pictures", "empty_class"]
    assert [each.name for each in tasks_in(home)] == [there.name, gone.name]
    assert latest(tasks_in(home), "check", "gone") == failed
    assert tasks_folder(home).stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("endless")
def test_as_many_run_as_may_and_each_can_be_stopped(tmp_path: Path) -> None:
    running = [start_task(tmp_path, "check", str(each), CHECK) for each in range(console_tasks.MAX_RUNNING)]
    with pytest.raises(ConfigError, match="check of 0 is running already"):
        start_task(tmp_path, "check", "0", CHECK)
    with pytest.raises(ConfigError, match="no more at once"):
        start_task(tmp_path, "check", "other", CHECK)
    until(lambda: all("on" in each.log() for each in running))
    stop_task(running[0])
    stopped = ended(tmp_path, running[0])
    assert (stopped.status, stopped.exit_code) == ("Stopped", -signal.SIGTERM)
    # the process that waits for a command is killed, too, as by a full memory: the task has ended
    os.killpg(running[1].process.pid, signal.SIGKILL)
    killed = ended(tmp_path, running[1])
    assert (killed.status, killed.exit_code) == ("Failed", None)
    os.killpg(running[2].process.pid, signal.SIGTERM)
    assert ended(tmp_path, running[2]).status == "Failed"


def test_damaged_tasks_and_those_of_a_vanished_process_are_no_trouble(tmp_path: Path) -> None:
    for name, text in (("1-a", "{"), ("2-b", "[]"), ("3-c", '{"pid": "x"}')):
        (tasks_folder(tmp_path) / name).mkdir(parents=True)
        (tasks_folder(tmp_path) / name / "task.json").write_text(text)
    (tasks_folder(tmp_path) / "4-d").mkdir()
    vanished = tasks_folder(tmp_path) / "5-e"
    vanished.mkdir()
    (vanished / "task.json").write_text(
        '{"kind": "check", "subject": "<b>", "command": ["x"], "started": 5, "pid": 1, "create_time": 0}'
    )
    (found,) = tasks_in(tmp_path)
    assert (found.status, found.subject, found.result()) == ("Failed", "<b>", None)
    with pytest.raises(ConfigError, match="there is no task"):
        find_task(tmp_path, "../../etc")


@pytest.mark.parametrize(
    ("code", "is_alive", "was_stopped", "printed", "expected"),
    [
        (None, True, False, False, "InProgress"),
        (None, True, True, False, "Stopping"),
        (0, False, True, True, "Completed"),
        (1, False, False, True, "Completed"),
        (1, False, False, False, "Failed"),
        (130, False, True, False, "Stopped"),
        (None, False, False, False, "Failed"),
    ],
)
def test_the_status(code: int | None, is_alive: bool, was_stopped: bool, printed: bool, expected: str) -> None:
    assert status_of(code, is_alive=is_alive, was_stopped=was_stopped, printed=printed) == expected


def test_old_tasks_go_except_those_that_run_and_the_latest_of_each_subject() -> None:
    task = TaskView(Path("a"), "check", "x", (), 0.0, "Completed", Identity(1, 0.0))
    running = replace(task, status="InProgress")
    others = [replace(task, folder=Path(str(number))) for number in range(4)]
    other_subject = replace(task, subject="y")
    assert superfluous([*others, running, other_subject], 1) == others[2:]


def test_logs_show_the_last_state_of_a_line_and_control_nothing(tmp_path: Path) -> None:
    assert shown_log("1%\r\n50%\r100%\r\nend\x1b[2J\x07") == "1%\n100%\nend\\x1b[2J\\x07"
    assert task_in(tmp_path) is None
