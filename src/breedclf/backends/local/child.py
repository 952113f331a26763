"""The job's first process: has its own session, and is killed with its supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """The script to start, its folder, its whole environment, and the file descriptors it inherits."""

    python: str
    script: str
    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    inherited: Sequence[int] = ()


class Child(Protocol):
    """A started process; `log` is the descriptor to read its stdout and stderr from."""

    pid: int
    log: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def close(self) -> None:
        """Release the handle's resources after the process has ended."""


class SpawnedChild:
    """A process of its own interpreter."""

    def __init__(self, command: Command) -> None:
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [command.python, "-u", command.script, *command.arguments],
                cwd=command.folder,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=command.inherited,
                preexec_fn=kill_with_parent(),
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.pid: int = self._process.pid
        self.log = read_end

    def poll(self) -> int | None:
        return self._process.poll()

    def close(self) -> None:
        os.close(self.log)
        self._process.wait()


def kill_with_parent() -> Callable[[], None] | None:
    """A function that makes the kernel kill the forked process with this one; None where it can't (not Linux).

    It runs right after the fork, so the library is loaded here, before it.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this call
            os._exit(1)

    return set_death_signal
