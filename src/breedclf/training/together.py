"""Work that several processes do at the same time: progress, errors and waiting, through torchrun's key-value store.

Collective operations fail when a process comes 30 minutes after another, and hang or break when one has failed. Here a
process may wait for hours, as long as some process reports progress, and learns of the errors of the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torch.distributed import Store  # type: ignore[attr-defined]  # documented, but not in __all__

from breedclf import errors
from breedclf.errors import BreedclfError, TrainingError

_FAILURE = "failure"
_DONE = "done"
_FIRST_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 0.5
MAX_SILENT_SECONDS = 1800.0
"""How long no process may report progress while one waits for it, as with collective operations."""


class StoreTogether:
    """The work of `count` processes; see `features.pass_share.Together`.

    Args:
        store: has keys of this work only.
        rank: the number of this process, from 0.
        count: the number of processes.
        max_silent_seconds: how long to wait without any progress.
        clock: monotonic seconds.
        sleep: waits seconds.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        count: int,
        *,
        max_silent_seconds: float = MAX_SILENT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._rank, self._count = store, rank, count
        self._max_silent_seconds, self._clock, self._sleep = max_silent_seconds, clock, sleep
        self._meetings = 0

    def advance(self, images: int) -> int:
        """Report that this process has done some more images; returns the number that all processes have done.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
        """
        self._raise_failure()
        return int(self._store.add(_DONE, images))

    def meet(self) -> None:
        """Wait until all processes are here.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
            TrainingError: no process has reported progress for a long time.
        """
        self._meetings += 1
        keys = [f"meeting {self._meetings}: {rank}" for rank in range(self._count)]
        self._store.set(keys[self._rank], "here")
        pause = _FIRST_POLL_SECONDS
        last, since = -1, self._clock()
        while not self._store.check(keys):
            self._raise_failure()
            done = int(self._store.add(_DONE, 0))
            if done != last:
                last, since = done, self._clock()
            elif self._clock() - since > self._max_silent_seconds:
                absent = ", ".join(str(rank) for rank, key in enumerate(keys) if not self._store.check([key]))
                raise TrainingError(
                    f"process {absent} has reported no progress for {self._max_silent_seconds / 60:.0f} minutes: "
                    "look for what it waits for, and whether its machine is still there"
                )
            self._sleep(pause)
            pause = min(2 * pause, _MAX_POLL_SECONDS)
        self._raise_failure()

    def fail(self, error: BaseException) -> BaseException:
        """Report an error to all processes; returns the one to raise here: theirs, if another has failed before."""
        own = json.dumps({"rank": self._rank, "kind": type(error).__name__, "message": str(error)})
        first = self._store.compare_set(_FAILURE, "", own).decode()
        is_ours = first == own or not isinstance(error, BreedclfError)
        return error if is_ours else _raised(first)

    def _raise_failure(self) -> None:
        if self._store.check([_FAILURE]):
            raise _raised(self._store.get(_FAILURE).decode())


@contextmanager
def working_together(store: Store, rank: int, count: int) -> Iterator[StoreTogether]:
    """Within it an error of one process is raised in all of them; they wait for each other at its end."""
    together = StoreTogether(store, rank, count)
    try:
        yield together
    except BaseException as error:
        raised = error
        with suppress(RuntimeError):  # the store is gone: the others fail for that reason
            raised = together.fail(error)
        if raised is error:
            raise
        raise raised from error
    together.meet()


def _raised(failure: str) -> BaseException:
    """The error that another process reported."""
    about = json.loads(failure)
    rank, kind, message = about["rank"], about["kind"], about["message"]
    if kind in ("KeyboardInterrupt", "TrainingInterrupted", "SystemExit"):
        return KeyboardInterrupt(f"process {rank} was interrupted")
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, BreedclfError) and known.__init__ is BreedclfError.__init__:
        return known(message)
    return TrainingError(f"process {rank} failed: {kind}: {message}")
