"""Work that several processes do at the same time: progress, errors and waiting, through torchrun's key-value store.

Collective operations fail when a process comes 30 minutes after another, and break or hang when one has failed. Here a
process may wait for hours, as long as the others are alive, and learns of their errors.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torch.distributed import DistError, Store  # type: ignore[attr-defined]  # documented, but not in __all__

from breedclf import errors
from breedclf.errors import BreedclfError, TrainingError
from breedclf.features.pass_share import ignore

MAX_SILENT_SECONDS = 300.0
"""A process that gives no sign of life for this long is taken for dead by those that wait for it."""
_BEAT_SECONDS = 5.0
_FIRST_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 0.5
_FAILURE = "failure"
_DONE = "done"


class StoreTogether:
    """The work of `count` processes; see `features.pass_share.Together`.

    Args:
        store: has keys of this work only.
        rank: the number of this process, from 0.
        count: the number of processes.
        clock: monotonic seconds.
        sleep: waits seconds.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        count: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._rank, self._count = store, rank, count
        self._clock, self._sleep = clock, sleep
        self._meetings = self._done = 0

    def advance(self, images: int) -> int:
        """Report that this process has done some more images; returns the number that all processes have done.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
        """
        if self._store.check([_FAILURE]):
            raise _raised(self._store.get(_FAILURE).decode())
        self._done = int(self._store.add(_DONE, images))
        return self._done

    def beat(self) -> None:
        """Give a sign of life."""
        self._store.add(f"beats {self._rank}", 1)

    def meet(self, on_advance: Callable[[int], None] = ignore) -> None:
        """Wait until all processes are here.

        `on_advance` is called when more images are done, with the number that all processes have done.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
            TrainingError: a process gives no sign of life.
        """
        self._wait(on_advance)
        self._wait(ignore)  # nobody goes on before `on_advance`, which may raise, has returned everywhere

    def _wait(self, on_advance: Callable[[int], None]) -> None:
        self._meetings += 1
        keys = [f"meeting {self._meetings}: {rank}" for rank in range(self._count)]
        self._store.set(keys[self._rank], "here")
        pause, seen = _FIRST_POLL_SECONDS, dict[int, tuple[int, float]]()
        while True:
            is_complete, before = self._store.check(keys), self._done
            if self.advance(0) != before:
                on_advance(self._done)
            if is_complete:
                return
            for rank, key in enumerate(keys):
                if not self._store.check([key]):
                    self._check_alive(rank, seen)
            self._sleep(pause)
            pause = min(2 * pause, _MAX_POLL_SECONDS)

    def _check_alive(self, rank: int, seen: dict[int, tuple[int, float]]) -> None:
        """Raise an error if a process has been silent; `seen` has the last count of its beats, and since when."""
        now, beats = self._clock(), int(self._store.add(f"beats {rank}", 0))
        if rank not in seen or seen[rank][0] != beats:
            seen[rank] = beats, now
        elif now - seen[rank][1] > MAX_SILENT_SECONDS:
            raise TrainingError(
                f"process {rank} has given no sign of life for {MAX_SILENT_SECONDS / 60:.0f} minutes: it was killed or "
                "suspended, or its machine or network is gone; start the run again, which reuses what was computed"
            )

    def fail(self, error: BaseException) -> BaseException:
        """Report an error to all processes; returns the one to raise here: theirs, if another has failed before."""
        own = json.dumps({"rank": self._rank, "kind": type(error).__name__, "message": str(error)})
        first = self._store.compare_set(_FAILURE, "", own).decode()
        is_ours = first == own or not isinstance(error, BreedclfError)
        return error if is_ours else _raised(first)


@contextmanager
def working_together(store: Store, rank: int, count: int) -> Iterator[StoreTogether]:
    """Within it an error of one process is raised in all of them; they wait for each other at its end."""
    together = StoreTogether(store, rank, count)
    try:
        with _beating(together):
            yield together
            together.meet()
    except DistError as error:
        raise TrainingError(
            "the connection to the other processes is lost: one was killed, or its machine or network is gone; start "
            "the run again, which reuses what was computed"
        ) from error
    except BaseException as error:
        raised = error
        with suppress(DistError):  # the others will notice that the store is gone
            raised = together.fail(error)
        if raised is error:
            raise
        raise raised from error


@contextmanager
def _beating(together: StoreTogether) -> Iterator[None]:
    """Within it a thread gives signs of life."""
    ended = threading.Event()

    def beat() -> None:
        with suppress(DistError):  # the store is gone, as the main thread will notice
            while not ended.wait(_BEAT_SECONDS):
                together.beat()

    thread = threading.Thread(target=beat, name="breedclf-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_BEAT_SECONDS)  # a store that is gone may not answer


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
