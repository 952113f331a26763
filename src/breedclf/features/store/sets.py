"""The sets of a store: listed, evicted by last use, and deleted, unless a process uses them."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import Timeout

from breedclf.features.store.description import NewerFormatError, SetDescription
from breedclf.features.store.in_use import guarded, machines_using
from breedclf.features.store.index import FILE as INDEX_FILE, DamagedError, Index
from breedclf.features.store.shards import shard_files

log: logging.Logger = logging.getLogger(__name__)


_KEY = re.compile(r"[0-9a-f]{32}")
_DELETED = ".deleted-"


@dataclass(frozen=True)
class StoredSet:
    """A set in a folder: its size, its last use in seconds since 1970, and what can be read of it.

    `images` is None and `spec` is empty if the set is damaged or of a later version.
    """

    path: Path
    size_bytes: int
    used_at: float
    images: int | None = None
    spec: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shard:
    folder: Path
    number: int
    size_bytes: int
    used_at_ns: int


def stored_sets(store: Path) -> list[StoredSet]:
    """The sets of a store, most recently used first; other processes may change them meanwhile."""
    now, found = time.time(), list[StoredSet]()
    for folder in _set_folders(store):
        shards = _shards(folder)
        used_at = max((shard.used_at_ns / 1e9 for shard in shards), default=_modified_at_ns(folder) / 1e9)
        images, spec = None, dict[str, object]()
        with suppress(OSError, ValueError, sqlite3.Error):
            about = SetDescription.read(folder)
            spec = {} if about is None else dict(about.spec)
            with Index(folder / INDEX_FILE, writable=False) as index:
                images = len(index)
        found.append(StoredSet(folder, _size(folder), used_at, images, spec))
    found.sort(key=lambda each: each.used_at, reverse=True)
    # The time of a use may be ahead of a clock that was put back.
    return [replace(each, used_at=min(each.used_at, now)) for each in found]


def touch(store: Path, folder: Path, numbers: Collection[int]) -> None:
    """Note that shards of a set were used just now, later than all others of the store, also if the clock went back."""
    latest = max((shard.used_at_ns for each in _set_folders(store) for shard in _shards(each)), default=0)
    now = max(time.time_ns(), latest + 1_000)
    for number, path in shard_files(folder).items():
        if number in numbers:
            with suppress(OSError):
                os.utime(path, ns=(now, now))


def trim(store: Path, max_bytes: int, folder: Path, numbers: Collection[int]) -> None:
    """Delete the least recently used shards until the store has at most `max_bytes`.

    The shards `numbers` of the set in `folder` stay, and so do sets that other processes use or later versions wrote.
    """
    shards = sorted(
        (shard for each in _set_folders(store) for shard in _shards(each)), key=lambda each: each.used_at_ns
    )
    total = sum(map(_size, _set_folders(store)))
    for shard in shards:
        if total <= max_bytes:
            return
        if not (shard.folder == folder and shard.number in numbers) and _evicted(shard):
            log.debug("evicted shard %d of %s", shard.number, shard.folder)
            total -= shard.size_bytes
    if total > max_bytes:
        log.info("the feature store at %s has %.0f MB, above its limit, since they are in use", store, total / 1e6)


def delete_sets(store: Path) -> list[StoredSet]:
    """Delete all sets that no process uses, and return them."""
    found = [each for each in stored_sets(store) if delete_set(each.path)]
    for path in store.glob(f"{_DELETED}*"):  # of a process that was killed
        shutil.rmtree(path, ignore_errors=True)
    return found


def delete_set(folder: Path) -> bool:
    """Delete a set, unless a process uses it."""
    try:
        with guarded(folder, waiting=False):
            if machines_using(folder):
                return False
            _delete(folder)
    except (Timeout, OSError) as error:
        log.debug("%s stays in the store: %s", folder, error)
        return False
    return True


def _evicted(shard: _Shard) -> bool:
    try:
        with guarded(shard.folder, waiting=False):
            if machines_using(shard.folder):
                return False
            try:
                SetDescription.read(shard.folder)
                with Index(shard.folder / INDEX_FILE) as index:
                    index.drop_shard(shard.number)
                    is_empty = not index.shards()
            except DamagedError:
                is_empty = True
            if is_empty:
                _delete(shard.folder)
                return True
            for path in shard.folder.glob(f"{shard.number:06}.*"):
                path.unlink()
    except (Timeout, OSError, sqlite3.Error, NewerFormatError) as error:
        log.debug("%s stays in the store: %s", shard.folder, error)
        return False
    return True


def _delete(folder: Path) -> None:
    """Delete a set whose lock is held; it is renamed first, so that a half-deleted one isn't taken for a set."""
    deleted = folder.with_name(f"{_DELETED}{folder.name}-{secrets.token_hex(4)}")
    folder.rename(deleted)
    shutil.rmtree(deleted, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)  # so that a waiting process notices


def _set_folders(store: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in sorted(store.iterdir()) if _KEY.fullmatch(path.name) and path.is_dir())


def _shards(folder: Path) -> list[_Shard]:
    found = []
    for number, path in shard_files(folder).items():
        with suppress(OSError):
            status = path.stat()
            found.append(_Shard(folder, number, status.st_size, status.st_mtime_ns))
    return found


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _modified_at_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
