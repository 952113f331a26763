"""Caches of files between runs: checked on reading, computed by one process at a time, evicted by last use."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from breedclf.errors import ConfigError
from breedclf.files.cache_folder import cache_folder
from breedclf.files.disk import replacing
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 10 * 1024**3

Cached = TypeVar("Cached")


@dataclass(frozen=True)
class CacheEntry:
    """One file of a cache; `used_at` is the time of its last use, in seconds since 1970."""

    path: Path
    size_bytes: int
    used_at: float


@dataclass(frozen=True)
class FileCache(ABC, Generic[Cached]):
    """A folder of cached files; each is named by a hash of everything that its content depends on."""

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    what: ClassVar[str]
    """The name of the content in messages; also the name of the folder."""
    suffix: ClassVar[str]

    @classmethod
    def at(cls, folder: Path | None, **settings: Any) -> Self:
        """The cache below `folder`; None means the folder set by the environment, or the platform's."""
        return cls(cache_folder(folder) / cls.what, max_bytes_from_environment(), **settings)

    def get_or_compute(self, key: str, compute: Callable[[], Cached]) -> Cached:
        """The cached value of a key; if several processes request it at once, one computes it and the others wait.

        A file that is truncated, altered or of another version is computed again. If the file can't be written, for
        example on a full disk, a warning is logged and the computed value is returned.
        """
        path = self.folder / f"{key}{self.suffix}"
        try:
            make_private(self.folder.parent)
            self.folder.mkdir(exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            log.warning(
                "the cache of %s at %s can't be used (%s); continuing without it", self.what, self.folder, error
            )
            return compute()
        try:
            found = self._read_if_whole(path)
            return self._opened(self._store(path, compute()) if found is None else found)
        finally:
            lock.release()

    def entries(self) -> list[CacheEntry]:
        """The files of the cache, most recently used first; other processes may add and delete files meanwhile."""
        found = []
        for path in self.folder.glob(f"*{self.suffix}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append(CacheEntry(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def clear(self) -> list[CacheEntry]:
        """Delete all entries that no process is reading or computing, and return them."""
        return [entry for entry in self.entries() if _delete(entry)]

    @abstractmethod
    def _read(self, path: Path) -> Cached | None:
        """Read and check a file; None if it is damaged.

        Raises:
            OSError, ValueError, KeyError: it is damaged.
        """

    @abstractmethod
    def _write(self, temporary: Path, path: Path, computed: Cached) -> Cached:
        """Write a computed value to `temporary`, which then replaces `path`, and return the value to use from now on.

        Raises:
            OSError: it can't be written.
        """

    def _opened(self, cached: Cached) -> Cached:
        """Open a file that is needed later, while the lock keeps other processes from deleting it."""
        return cached

    def _read_if_whole(self, path: Path) -> Cached | None:
        if not path.is_file():
            return None
        try:
            found = self._read(path)
            if found is not None:
                os.utime(path)
                return found
        except (OSError, ValueError, KeyError) as error:
            log.debug("unreadable cache file %s: %s", path, error)
        log.warning("the cached %s in %s are damaged or of another version; computing them again", self.what, path)
        return None

    def _store(self, path: Path, computed: Cached) -> Cached:
        try:
            with replacing(path) as temporary:
                cached = self._write(temporary, path, computed)
        except OSError as error:
            log.warning("%s can't be cached at %s (%s); continuing without", self.what, path, error)
            return computed
        total = 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self.max_bytes and entry.path != path:
                _delete(entry)
        return cached


def cache_key(**parts: object) -> str:
    """A file name from all values that the content depends on."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def max_bytes_from_environment() -> int:
    """The size limit of the cache folder.

    Raises:
        ConfigError: `BREEDCLF_CACHE_MAX_GB` isn't a size.
    """
    text = os.environ.get("BREEDCLF_CACHE_MAX_GB")
    if text is None:
        return DEFAULT_MAX_BYTES
    try:
        size = float(text) * 1024**3
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise ConfigError(
            f"BREEDCLF_CACHE_MAX_GB={text!r}: give the cache's size limit in GB, a number such as 10 or 0.5"
        )
    return int(size)


def _delete(entry: CacheEntry) -> bool:
    """Delete an entry unless a process is reading or computing it and so holds its lock."""
    try:
        with FileLock(entry.path.with_suffix(".lock"), blocking=False) as lock:
            entry.path.unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held, so that a waiting process notices
    except (Timeout, OSError) as error:
        log.debug("%s stays in the cache: %s", entry.path, error)
        return False
    return True
