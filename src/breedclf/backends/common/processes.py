"""Finding, recognizing and ending the processes of a job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from breedclf.backends.common.folder import ProcessValues

MARK = "BREEDCLF_JOB_FOLDER"
_SAME_START_SECONDS = 1.0
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Identity:
    """A process, identified by its number and its start time (seconds since 1970), since numbers are reused."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """The identity of a process; for one that is gone, an identity that no process has."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return cls(pid, 0.0)

    @classmethod
    def from_dict(cls, values: ProcessValues) -> Self:
        return cls(values["pid"], values["create_time"])

    def to_dict(self) -> ProcessValues:
        return {"pid": self.pid, "create_time": self.create_time}

    @property
    def was_replaced(self) -> bool:
        """Whether the number belongs to another process now."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.create_time) >= _SAME_START_SECONDS
        except psutil.Error:
            return False

    @property
    def is_alive(self) -> bool:
        """Whether the process exists and isn't a zombie."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def processes_of_job(first: Identity | None, mark: str) -> list[psutil.Process]:
    """All living processes that a job started.

    They are the descendants of its first process, processes of its session, which children keep when their parent dies,
    and processes with the variable `MARK` in their environment, which daemons keep when they start their own session.
    """
    found: dict[int, psutil.Process] = {}
    leader = None if first is None or first.was_replaced else first.pid
    if leader is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(leader)
            found = {each.pid: each for each in (process, *process.children(recursive=True))}
    for pid in psutil.pids():
        if pid in found or pid in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if (leader is not None and os.getsid(pid) == leader) or _is_marked(process, mark):
                found[pid] = process
    return [process for process in found.values() if not _is_zombie(process)]


def terminate_group(leader: int) -> None:
    """Send SIGTERM to the job's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGTERM)


def kill(processes: Iterable[psutil.Process], *, wait_seconds: float = 5.0) -> None:
    """Send SIGKILL to each process and wait until it is gone."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()  # psutil checks that the number wasn't reused
    psutil.wait_procs(processes, timeout=wait_seconds)


def kill_job(first: Identity | None, mark: str) -> int:
    """Kill all processes of a job, including those started in the meantime; return their number."""
    count = 0
    for _ in range(5):
        alive = processes_of_job(first, mark)
        if not alive:
            break
        count += len(alive)
        kill(alive)
    return count


def _is_marked(process: psutil.Process, mark: str) -> bool:
    return process.uids().real == os.getuid() and process.environ().get(MARK) == mark


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def run_supervisor(
    module: str, folder: Path, log: Path, environment: Mapping[str, str], *, cwd: Path | None = None
) -> int:
    """Run a supervisor module on a folder and return its exit code; the supervisor detaches once it has started."""
    with log.open("ab") as output:
        started = subprocess.run(
            [sys.executable, "-m", module, str(folder)],
            cwd=cwd,
            env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            timeout=_START_SECONDS,
            check=False,
        )
    return started.returncode
