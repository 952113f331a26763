"""Commands that take long: each is a process of its own, which goes on if the console ends, and keeps its result.

No shell is involved: a command is a list of words. Its state is read by `breedclf.overview.tasks`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from breedclf.backends.common.folder import HOME_VARIABLE
from breedclf.backends.common.processes import Identity
from breedclf.errors import ConfigError
from breedclf.files.disk import refusal, write_atomic, writing
from breedclf.files.private_folder import make_private
from breedclf.overview.tasks import LOG_FILE, STOPPING_FILE, TASK_FILE, TaskView, task_in, tasks_folder, tasks_in
from breedclf.text.plain_json import plain_json

PROGRAM = "breedclf"
MAX_RUNNING = 3
MAX_KEPT = 100
"""Tasks that have ended, besides the latest of each kind and subject."""
STOP_SECONDS = 15.0
"""How long a task may take to stop before it is killed."""
_LOCK_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parents[2]


def start_task(home: Path, kind: str, subject: str, command: Sequence[str]) -> TaskView:
    """Start a command of breedclf in the background.

    Args:
        home: of the backend; its folder `console` keeps the task.
        kind: of task, such as "check"; two of one kind and subject don't run at the same time.
        subject: what it is about, such as a folder.
        command: as a shell would read it; the first word is "breedclf". It is run with `--json`.

    Raises:
        ConfigError: as many are running as may, or the same one is.
        DiskError: the folder can't be written.
    """
    folder = tasks_folder(home)
    with writing(folder, "choose another --home"):
        make_private(folder)
    lock = FileLock(folder / ".lock", timeout=_LOCK_SECONDS)
    try:
        with lock:
            tasks = tasks_in(home)
            _check_may_start(tasks, kind, subject)
            for old in superfluous(tasks, MAX_KEPT):
                shutil.rmtree(old.folder, ignore_errors=True)
            return _started(folder, kind, subject, command, {**os.environ, HOME_VARIABLE: str(home)})
    except Timeout as error:
        raise ConfigError(f"another console starts a task in {folder}: try again") from error


def stop_task(task: TaskView) -> None:
    """Ask a task to stop; it is killed if it takes too long. Does nothing if it has ended."""
    if not task.is_active:
        return
    with writing(task.folder, "make room, then try again"):
        (task.folder / STOPPING_FILE).touch()
    _signal(task.process, signal.SIGTERM)
    threading.Thread(target=_kill_later, args=(task,), daemon=True).start()


def find_task(home: Path, name: str) -> TaskView:
    """The task of this name.

    Raises:
        ConfigError: there is none.
    """
    found = next((task for task in tasks_in(home) if task.name == name), None)
    if found is None:
        raise ConfigError(f"there is no task {name!r}; it may have been removed after later ones")
    return found


def superfluous(tasks: Iterable[TaskView], kept: int) -> list[TaskView]:
    """The ended tasks that aren't kept; `tasks` are the latest first, and the latest of each subject is kept."""
    known: set[tuple[str, str]] = set()
    rest = []
    for task in tasks:
        if (task.kind, task.subject) in known and not task.is_active:
            rest.append(task)
        known.add((task.kind, task.subject))
    return rest[kept:]


def _check_may_start(tasks: Sequence[TaskView], kind: str, subject: str) -> None:
    active = [task for task in tasks if task.is_active]
    if any((task.kind, task.subject) == (kind, subject) for task in active):
        raise ConfigError(f"{kind} of {subject} is running already")
    if len(active) >= MAX_RUNNING:
        raise ConfigError(f"{len(active)} tasks are running, and no more at once: wait for one, or stop it")


def _started(folder: Path, kind: str, subject: str, command: Sequence[str], environment: Mapping[str, str]) -> TaskView:
    now = time.time()
    target = folder / f"{int(now * 1000):013d}-{secrets.token_hex(3)}"
    words = [sys.executable, "-m", PROGRAM, *command[1:], "--json"]
    with writing(target, "make room, then try again"):
        target.mkdir(mode=0o700)
        with (target / LOG_FILE).open("wb") as log:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "breedclf.console.task_process", str(target), *words],
                    env={**environment, "PYTHONPATH": _python_path(environment)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                shutil.rmtree(target, ignore_errors=True)
                raise ConfigError(f"{kind} can't be started: {refusal(error)}") from error
        threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie remains
        values = {"kind": kind, "subject": subject, "command": list(command), "started": now}
        write_atomic(target / TASK_FILE, plain_json({**values, **Identity.of(process.pid).to_dict()}))
    found = task_in(target)
    assert found is not None
    return found


def _python_path(environment: Mapping[str, str]) -> str:
    return os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH", ""))))


def _signal(process: Identity, number: signal.Signals) -> None:
    """Send a signal to all processes of a task: its first one leads their group."""
    if process.is_alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _kill_later(task: TaskView) -> None:
    until = time.monotonic() + STOP_SECONDS
    while task.process.is_alive and time.monotonic() < until:
        time.sleep(0.1)
    _signal(task.process, signal.SIGKILL)
