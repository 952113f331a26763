"""Digests of image files, of which only those that are unknown or have changed are read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from breedclf.data.digests import read_digest
from breedclf.files.file_stat import FileStat
from breedclf.files.known_files import KnownFiles

log: logging.Logger = logging.getLogger(__name__)

_READ_PER_TASK = 16
_STATS_PER_TASK = 256  # a task costs as much as ten of them

Given = TypeVar("Given")
Found = TypeVar("Found")


def digests_of_files(paths: Sequence[Path], pool: Executor, known: KnownFiles | None = None) -> list[bytes]:
    """The digest of each of these files, 16 bytes; one that can't be read counts by its name.

    Args:
        paths: the files.
        pool: threads that read them.
        known: files that were read before; those that are read now are added. With its `verify` all files are read, and
            a warning says which had changed unnoticed.
    """
    if known is None:
        return [file.digest for file in in_threads(pool, paths, read_digest, _READ_PER_TASK)]
    names = [os.fspath(path) for path in paths]
    found = known.find(names, lambda some: in_threads(pool, some, _stat_of, _STATS_PER_TASK))
    unknown = [at for at, digest in enumerate(found) if digest is None or known.verify]
    read = in_threads(
        pool, [paths[at] for at in unknown], lambda path: read_digest(path, known.clock_ns), _READ_PER_TASK
    )
    known.add([names[at] for at in unknown], read)
    changed = []
    for at, file in zip(unknown, read, strict=True):
        if found[at] not in (None, file.digest):
            changed.append(names[at])
        found[at] = file.digest
    if changed:
        log.warning(
            "the content of %d of %d files has changed while their size and times haven't; the first: %s",
            len(changed),
            len(paths),
            changed[0],
        )
    return [digest for digest in found if digest is not None]


def in_threads(pool: Executor, items: Sequence[Given], call: Callable[[Given], Found], per_task: int) -> list[Found]:
    """The results for all items, in their order."""
    parts = [items[start : start + per_task] for start in range(0, len(items), per_task)]
    return [result for results in pool.map(lambda part: [call(item) for item in part], parts) for result in results]


def _stat_of(path: str) -> FileStat | None:
    try:
        return FileStat.of(os.stat(path))  # noqa: PTH116 - a third of the time of Path.stat
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None
