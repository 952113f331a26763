"""Slots for cores and GPUs, so that jobs side by side never share one; first come, first served."""

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
    """Cores and GPUs that a job owns while any process that inherited the descriptors lives."""

    cores: tuple[str, ...]
    gpus: tuple[str, ...]
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Give up this process's hold; a job that still lives keeps its own."""
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class SlotPool:
    """The slots of one home folder: a lock file for each core and each GPU of this machine."""

    def __init__(self, home: Path, *, cores: int, gpus: Sequence[str]) -> None:
        self._folder = home / "slots"
        self._cores = [str(number) for number in range(cores)]
        self._gpus = list(gpus)

    def queue(self, name: str) -> Ticket:
        """A place in the line, behind all who came before."""
        (self._folder / "queue").mkdir(parents=True, exist_ok=True)
        with locked(self._folder / "mutex"):
            path = self._folder / "queue" / f"{time.time_ns():020d}-{name}"
            descriptor = try_lock(path)
        assert descriptor is not None, f"two jobs with the ticket {path}"
        return Ticket(path, descriptor)

    def take(self, ticket: Ticket, cores: int, gpus: int) -> Slots | None:
        """The slots asked for, if it is this ticket's turn and enough are free; otherwise none of them."""
        with locked(self._folder / "mutex"):
            if self._someone_before(ticket):
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

    def _someone_before(self, ticket: Ticket) -> bool:
        for path in sorted((self._folder / "queue").iterdir()):
            if path == ticket.path:
                return False
            descriptor = try_lock(path)
            if descriptor is None:
                return True
            path.unlink(missing_ok=True)  # who waited with it is dead
            os.close(descriptor)
        return False


class Ticket:
    """A place in the line of a pool, held by a lock, so that the dead don't wait."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def give_up(self) -> None:
        """Leave the line; harmless when it was left before."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def cores_of_this_machine() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_of_this_machine() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that a job could use, as CUDA_VISIBLE_DEVICES takes them; found without torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(name for name in chosen.split(",") if name and name != "-1")
    devices = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return tuple(str(index) for index in range(len(devices)))
