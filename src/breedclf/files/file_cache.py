"""Files kept between runs: each is checked, made once however many processes want it, and the oldest go first."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from breedclf.errors import ConfigError
from breedclf.files.cache_folder import cache_folder
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 10 * 1024**3

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class CacheEntry:
    """One file of a cache."""

    path: Path
    size_bytes: int
    used_at: float


@dataclass(frozen=True)
class FileCache(ABC, Generic[Kept]):
    """A folder of files, each named by the hash of everything that its content depends on."""

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    what: ClassVar[str]
    """What messages call the content; also the folder's name."""
    suffix: ClassVar[str]

    @classmethod
    def at(cls, folder: Path | None, **settings: Any) -> Self:
        """The cache in `folder`; by default the one that the environment names, or the platform's."""
        return cls(cache_folder(folder) / cls.what, _max_bytes_from_environment(), **settings)

    def get_or_compute(self, key: str, compute: Callable[[], Kept]) -> Kept:
        """What is kept by that key; of several processes that want it, one computes and the others wait.

        A file that is cut short, altered or of another version is computed again. When nothing can be written, as on a
        full disk, what was computed is used without being kept, with a warning.
        """
        path = self.folder / f"{key}{self.suffix}"
        try:
            make_private(self.folder.parent)
            self.folder.mkdir(exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            log.warning("the cache of %s at %s can't be used (%s); going on without it", self.what, self.folder, error)
            return compute()
        try:
            found = self._read_if_whole(path)
            return self._opened(self._keep(path, compute()) if found is None else found)
        finally:
            lock.release()

    def entries(self) -> list[CacheEntry]:
        """What the cache holds, most recently used first; other processes may delete and add meanwhile."""
        found = []
        for path in self.folder.glob(f"*{self.suffix}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append(CacheEntry(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def clear(self) -> list[CacheEntry]:
        """Delete every entry that no process is reading or computing, and say which these were."""
        return [entry for entry in self.entries() if _delete(entry)]

    @abstractmethod
    def _read(self, path: Path) -> Kept | None:
        """The content of a whole and unaltered file.

        Raises:
            OSError, ValueError, KeyError: it is damaged; None does as well.
        """

    @abstractmethod
    def _write(self, temporary: Path, path: Path, computed: Kept) -> Kept:
        """Write it to `temporary`, which then takes the place of `path`, and return what is used from now on.

        Raises:
            OSError: it can't be written.
        """

    def _opened(self, kept: Kept) -> Kept:
        """What needs its file later opens it here, while no other process can delete it."""
        return kept

    def _read_if_whole(self, path: Path) -> Kept | None:
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

    def _keep(self, path: Path, computed: Kept) -> Kept:
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
                temporary = Path(file.name)
            kept = self._write(temporary, path, computed)
            temporary.replace(path)
        except OSError as error:
            log.warning("%s can't be cached at %s (%s); going on without", self.what, path, error)
            return computed
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        total = 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self.max_bytes and entry.path != path:
                _delete(entry)
        return kept


def cache_key(**parts: object) -> str:
    """A file name made from everything that decides the content."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _max_bytes_from_environment() -> int:
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
    """Delete it unless a process is reading or computing it, which holds its lock."""
    try:
        with FileLock(entry.path.with_suffix(".lock"), blocking=False) as lock:
            entry.path.unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
    except (Timeout, OSError) as error:
        log.debug("%s stays in the cache: %s", entry.path, error)
        return False
    return True
