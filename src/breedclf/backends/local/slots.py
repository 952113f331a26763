"""Slots for cores and GPUs: parallel jobs never share one, and waiting jobs get theirs in order of arrival."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from breedclf.backends.common.locks import locked, try_lock


@dataclass(frozen=True)
class Slots:
    """Cores and GPUs of a job, taken until every process that inherited the descriptors has exited."""

    cores: tuple[str, ...]
    gpus: tuple[str, ...]
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Close this process's descriptors; a running job keeps its own."""
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class SlotPool:
    """The slots of one home folder: a lock file per core and per GPU of this machine."""

    def __init__(self, home: Path, *, cores: int, gpus: Sequence[str]) -> None:
        self._folder = home / "slots"
        self._cores = [str(number) for number in range(cores)]
        self._gpus = list(gpus)

    def queue(self, name: str) -> Ticket:
        """A ticket at the end of the queue."""
        (self._folder / "queue").mkdir(parents=True, exist_ok=True)
        with locked(self._folder / "mutex"):
            path = self._folder / "queue" / f"{time.time_ns():020d}-{name}"
            descriptor = try_lock(path)
        assert descriptor is not None, f"two jobs with the ticket {path}"
        return Ticket(path, descriptor)

    def take(self, ticket: Ticket, cores: int, gpus: int) -> Slots | None:
        """The requested slots; None if it isn't this ticket's turn or not enough are free."""
        with locked(self._folder / "mutex"):
            if self._is_behind_another(ticket):
                return None
            held: list[int] = []
            free_cores = self._lock_some("core", self._cores, cores, held)
            free_gpus = self._lock_some("gpu", self._gpus, gpus, held)
            if len(free_cores) == cores and len(free_gpus) == gpus:
                ticket.give_up()
                return Slots(tuple(free_cores), tuple(free_gpus), tuple(held))
            for descriptor in held:
                os.close(descriptor)
            return None

    def _lock_some(self, kind: str, names: Sequence[str], count: int, held: list[int]) -> list[str]:
        taken: list[str] = []
        for name in names:
            if len(taken) == count:
                break
            descriptor = try_lock(self._folder / f"{kind}-{name}")
            if descriptor is not None:
                held.append(descriptor)
                taken.append(name)
        return taken

    def _is_behind_another(self, ticket: Ticket) -> bool:
        for path in sorted((self._folder / "queue").iterdir()):
            if path == ticket.path:
                return False
            descriptor = try_lock(path)
            if descriptor is None:
                return True
            path.unlink(missing_ok=True)  # the process that held it is gone
            os.close(descriptor)
        return False


class Ticket:
    """A position in a pool's queue, held by a lock, so that it ends with its process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def give_up(self) -> None:
        """Leave the queue; does nothing the second time."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def gpus_of_this_machine() -> tuple[str, ...]:
    """Names of the usable NVIDIA GPUs, as in CUDA_VISIBLE_DEVICES; found without torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name for name in visible.split(",") if name and name != "-1")
    devices = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return tuple(str(index) for index in range(len(devices)))
