"""DataLoader workers: how they are started, and errors where they can't be."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from breedclf.errors import ConfigError, TrainingError

_GUARD = 'put the calls of the script under `if __name__ == "__main__":`, or leave out workers'


def start_method() -> str:
    """The start method of processes: the program's choice, or else fork on Linux and Python's default elsewhere."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if sys.platform == "linux" else multiprocessing.get_all_start_methods()[0])


def may_start_processes() -> bool:
    """Whether workers are used by default.

    Only fork doesn't need the main module: spawn and forkserver import it again, which runs an unguarded script a
    second time. A daemonic process, such as a worker of `multiprocessing.Pool`, can't start processes.
    """
    return start_method() == "fork" and not multiprocessing.current_process().daemon


def check_may_start(workers: int | None) -> None:
    """Check that the requested number of workers can be started.

    Raises:
        ConfigError: this process is daemonic.
    """
    if workers and multiprocessing.current_process().daemon:
        raise ConfigError(
            f"workers={workers}: this process is daemonic, like those of multiprocessing.Pool, and can't start "
            "others; leave out workers to load the images by threads"
        )


def check_not_imported_by_loader() -> None:
    """Check that the main module isn't being imported a second time, by a spawned process.

    Raises:
        ConfigError: it is.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(f"a new process imports the main module, which starts training again: {_GUARD}")


@contextmanager
def loader_errors(workers: int) -> Iterator[None]:
    """Turn the error of a dead worker into one with a remedy.

    Raises:
        TrainingError: a worker ended.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        forked = "it may have run out of memory: use fewer workers"
        remedy = forked if start_method() == "fork" else f"processes start by {start_method()} here: {_GUARD}"
        raise TrainingError(f"workers={workers}: a DataLoader worker has ended; {remedy} ({error})") from error
