"""Marks of the processes that use a feature set, so that it isn't deleted, nor shared between machines, meanwhile."""

from __future__ import annotations

import os
import platform
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 0.01


@contextmanager
def guarded(folder: Path, *, waiting: bool = True) -> Iterator[None]:
    """Hold the lock under which the set in a folder is opened, started again and deleted.

    Raises:
        Timeout: another process holds it, without `waiting`.
        OSError: the disk refuses.
    """
    with FileLock(folder.with_name(f"{folder.name}.lock"), blocking=waiting, poll_interval=_POLL_SECONDS):
        yield


class UseMark:
    """Shows other processes that this one uses a set, until it is released or the process ends.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.path: Path = folder / f"{this_machine()}~{os.getpid()}-{secrets.token_hex(4)}.use"
        self._lock = FileLock(self.path)
        self._lock.acquire()

    def release(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        with suppress(OSError):
            self._lock.release()


def machines_using(folder: Path, besides: UseMark | None = None) -> list[str]:
    """The machines whose processes use a set, one for each process; marks of processes that were killed are deleted.

    Raises:
        OSError: the disk refuses.
    """
    machines = []
    for path in folder.glob("*.use"):
        if besides is not None and path == besides.path:
            continue
        try:
            with FileLock(path, blocking=False):
                path.unlink(missing_ok=True)
        except Timeout:
            machines.append(path.name.partition("~")[0])
    return machines


def this_machine() -> str:
    """The name of this machine, as part of file names."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", platform.node()) or "unnamed"
