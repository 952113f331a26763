"""Processes that load images: how they are started here, and what is told where they can't be."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from breedclf.errors import ConfigError, TrainingError

_GUARD = 'put the calls of the script under `if __name__ == "__main__":`, or leave out workers'


def start_method() -> str:
    """How this process starts others: what the program has chosen, or else fork on Linux and Python's way elsewhere."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if sys.platform == "linux" else multiprocessing.get_all_start_methods()[0])


def may_start_processes() -> bool:
    """Whether loader processes are started unasked.

    Only forks need nothing of the main module: by spawn and forkserver it is imported again, which runs an unguarded
    script a second time. A daemonic process, such as a worker of `multiprocessing.Pool`, may not start any.
    """
    return start_method() == "fork" and not multiprocessing.current_process().daemon


def check_may_start(workers: int | None) -> None:
    """See that loader processes that were asked for can be started.

    Raises:
        ConfigError: this process is daemonic.
    """
    if workers and multiprocessing.current_process().daemon:
        raise ConfigError(
            f"workers={workers}: this process is daemonic, like those of multiprocessing.Pool, and may start "
            "no others; leave out workers, and threads load the images"
        )


def check_not_imported_by_loader() -> None:
    """See that this isn't the main module's second run, in a process that is being spawned.

    Raises:
        ConfigError: it is.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(f"a new process imports the main module, which begins a training again: {_GUARD}")


@contextmanager
def loader_errors(workers: int) -> Iterator[None]:
    """Within it the end of a loader process is told with its remedy.

    Raises:
        TrainingError: a loader process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        forked = "it may have run out of memory: ask for fewer workers"
        remedy = forked if start_method() == "fork" else f"processes start by {start_method()} here: {_GUARD}"
        raise TrainingError(f"workers={workers}: a process that loads images has ended; {remedy} ({error})") from error
