"""Commands that the console has started, as it shows them: what they are about, their state, and what they printed.

HOME/console/tasks/NAME/task.json   what was started, and its process
HOME/console/tasks/NAME/output      stdout: one JSON document, once the command has ended
HOME/console/tasks/NAME/log         stderr
HOME/console/tasks/NAME/stopping    there once it was asked to stop
HOME/console/tasks/NAME/ended.json  the exit code and the time
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.common.processes import Identity
from breedclf.overview.parsed_files import read_object
from breedclf.text.printable import storable, visible

TASK_FILE, OUTPUT_FILE, LOG_FILE, STOPPING_FILE, ENDED_FILE = "task.json", "output", "log", "stopping", "ended.json"
LOG_BYTES = 16 << 10
"""How much of the end of a log is read."""
_EXIT_FOUND_PROBLEMS = 1  # of a command that did what it was asked to


@dataclass(frozen=True)
class TaskView:
    """A command: its folder, `kind` and `subject`, the command as a shell reads it, and its state.

    Times are in seconds since 1970, UTC; `status` is one of SageMaker's words.
    """

    folder: Path
    kind: str
    subject: str
    command: tuple[str, ...]
    started: float
    status: str
    process: Identity
    ended: float | None = None
    exit_code: int | None = None

    @property
    def name(self) -> str:
        """The name of its folder: the time at which it was started, and random characters."""
        return self.folder.name

    @property
    def is_active(self) -> bool:
        """Whether it hasn't ended."""
        return self.status in ("InProgress", "Stopping")

    def log(self) -> str:
        """The end of what it wrote to stderr, as text that can't control anything."""
        return shown_log(_tail(self.folder / LOG_FILE, LOG_BYTES))

    def result(self) -> dict[str, Any] | None:
        """The document that it printed; None if there is none."""
        return read_object(self.folder / OUTPUT_FILE)


def tasks_folder(home: Path) -> Path:
    """The folder of all tasks of a home."""
    return home / "console" / "tasks"


@dataclass
class Tasks:
    """Reads the tasks of a home; those that have ended are read once."""

    home: Path
    _ended: dict[Path, TaskView] = field(default_factory=dict)

    def all(self) -> tuple[TaskView, ...]:
        """All tasks, the latest first; damaged ones are left out."""
        try:
            folders = sorted(tasks_folder(self.home).iterdir(), key=lambda each: each.name, reverse=True)
        except OSError:
            return ()
        found = [self._ended.get(folder) or task_in(folder) for folder in folders if not folder.name.startswith(".")]
        tasks = tuple(task for task in found if task is not None)
        self._ended = {task.folder: task for task in tasks if not task.is_active}
        return tasks


def tasks_in(home: Path) -> tuple[TaskView, ...]:
    """All tasks of a home, the latest first; damaged ones are left out."""
    return Tasks(home).all()


def task_in(folder: Path) -> TaskView | None:
    """The task in a folder; None if it can't be read."""
    values = read_object(folder / TASK_FILE)
    try:
        if values is None:
            return None
        process = Identity(int(values["pid"]), float(values["create_time"]))
        kind, subject = str(values["kind"]), str(values["subject"])
        command, started = tuple(str(word) for word in values["command"]), float(values["started"])
    except (KeyError, TypeError, ValueError):
        return None
    ended, exit_code = _ended(folder, process)
    status = status_of(
        exit_code,
        is_alive=ended is None,
        was_stopped=(folder / STOPPING_FILE).exists(),
        printed=exit_code == _EXIT_FOUND_PROBLEMS and (folder / OUTPUT_FILE).stat().st_size > 0,
    )
    return TaskView(folder, kind, subject, command, started, status, process, ended, exit_code)


def status_of(exit_code: int | None, *, is_alive: bool, was_stopped: bool, printed: bool) -> str:
    """The status of a task.

    Args:
        exit_code: of its command; None if it isn't known, as of one that was killed.
        is_alive: whether it hasn't ended.
        was_stopped: whether it was asked to stop.
        printed: whether it printed a result: 1 is also the exit code of a command that has found problems.

    Example:
        >>> status_of(1, is_alive=False, was_stopped=False, printed=True)
        'Completed'
    """
    if is_alive:
        return "Stopping" if was_stopped else "InProgress"
    if exit_code == 0 or (exit_code == _EXIT_FOUND_PROBLEMS and printed):
        return "Completed"
    return "Stopped" if was_stopped else "Failed"


def latest(tasks: Iterable[TaskView], kind: str, subject: str, status: str = "") -> TaskView | None:
    """The latest task of a kind about a subject, with this status if one is given; tasks are the latest first."""
    return next(
        (each for each in tasks if (each.kind, each.subject) == (kind, subject) and status in ("", each.status)), None
    )


def shown_log(text: str) -> str:
    """A log without control characters; of a line that was written over again and again, the last state.

    Example:
        >>> shown_log("10%\\r90%\\ndone \\x1b[1m")
        '90%\\ndone \\\\x1b[1m'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return visible(storable("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)))


def _ended(folder: Path, process: Identity) -> tuple[float | None, int | None]:
    """When a task ended and its exit code; None and None while it runs."""
    is_alive = process.is_alive  # asked first: a process writes how it ended, then ends
    values = read_object(folder / ENDED_FILE)
    if values is not None:
        code, time = values.get("exit_code"), values.get("time")
        return (float(time) if isinstance(time, int | float) else 0.0), (code if isinstance(code, int) else None)
    if is_alive:
        return None, None
    return _last_change(folder), None


def _last_change(folder: Path) -> float:
    times = [file.stat().st_mtime for name in (TASK_FILE, OUTPUT_FILE, LOG_FILE) if (file := folder / name).exists()]
    return max(times, default=0.0)


def _tail(file: Path, most: int) -> str:
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - most))
            data = opened.read(most)
    except OSError:
        return ""
    text = data.decode("utf-8", errors="replace")
    return text if size <= most else text.partition("\n")[2]
