"""Digests of files that were read before: a file whose path and stat values are the same isn't read again.

They are in one SQLite file of the cache folder. It is written in one transaction per pass over the files, so a rollback
journal is enough, which unlike a write-ahead log also works in network folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from breedclf.files.cache_folder import cache_folder
from breedclf.files.disk import refusal
from breedclf.files.file_cache import CacheEntry, max_bytes_from_environment
from breedclf.files.file_stat import FileStat
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

SETTLED_NS = 4_000_000_000
"""A file is only added if its last change is this much older than its reading.

A later change then has another time, however coarse the times of its file system are (FAT: 2 s); the rest allows for a
file server whose clock is up to 2 s slow.
"""

_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE)",
    """CREATE TABLE files (
        folder INTEGER NOT NULL, name BLOB NOT NULL, digest BLOB NOT NULL, seal BLOB NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID""",
    f"PRAGMA user_version = {_FORMAT}",
)
_FIND = "SELECT digest, seal, seen FROM files WHERE folder = ? AND name = ?"
_PLACE = ("files", "digests.sqlite")
_SHARE_OF_CACHE = 10  # a tenth of the cache's size limit, 1 GB by default, holds about 10 million files
_MAX_PENDING = 50_000
_LOCK_SECONDS = 10
_DAY_NS = 86_400_000_000_000
_SEEN_EVERY = 7  # days; a table that is only read isn't written more often
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # ERROR: a table is missing

StatsOf = Callable[[Sequence[str]], Sequence[FileStat | None]]

_Key = tuple[bytes, bytes]
_Row = tuple[bytes, bytes]


class ReadFile(NamedTuple):
    """What reading a file found.

    `stat` has the values that it had before and afterwards; None if they differ, or if it can't be read.
    `started_ns` is the time when reading started, in nanoseconds since 1970.
    """

    digest: bytes
    stat: FileStat | None
    started_ns: int

    @property
    def lasting_stat(self) -> FileStat | None:
        """The stat values if any later change shows in them; None just after a change, or with times in the future.

        Example:
            >>> stat = FileStat(size=3, mtime_ns=0, ctime_ns=10**9, inode=1)
            >>> [ReadFile(b"", stat, seconds * 10**9).lasting_stat == stat for seconds in (0, 2, 5)]
            [False, False, True]
        """
        if self.stat is None or max(self.stat.mtime_ns, self.stat.ctime_ns) + SETTLED_NS > self.started_ns:
            return None
        return self.stat


class KnownFiles:
    """A table of digests by path and stat values, used in a `with` block; several processes may use it at once.

    It is only a cache. If it can't be read or written, one warning is logged and all files are unknown; a damaged one
    is deleted. Each row has a seal, a hash of all its values, so that a damaged row counts as unknown.

    Args:
        database: the SQLite file; created when the first files are saved.
        max_bytes: its size limit. Files that weren't seen for the longest time are dropped first.
        verify: ask callers to read known files, too, and to add them again.
        clock_ns: the time in nanoseconds since 1970.

    Example:
        >>> import tempfile
        >>> path, read = "/images/ant.jpg", ReadFile(b"digest", FileStat(3, 0, 0, 1), 10**10)
        >>> with KnownFiles.at(Path(tempfile.mkdtemp())) as known:
        ...     known.add([path], [read])
        ...     known.save()
        ...     known.find([path, "/images/bee.jpg"], lambda paths: [read.stat] * len(paths))
        [b'digest', None]
    """

    def __init__(
        self, database: Path, max_bytes: int, *, verify: bool = False, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.database: Path = database
        self.verify: bool = verify
        self.clock_ns: Callable[[], int] = clock_ns
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._pending: dict[_Key, _Row | None] = {}
        self._seen: dict[_Key, _Row] = {}
        self._is_usable = True

    @classmethod
    def at(cls, folder: Path | None, *, verify: bool = False) -> Self:
        """The table in a cache folder; None means the folder set by the environment, or the platform's.

        Raises:
            ConfigError: the folder's name isn't UTF-8, or `BREEDCLF_CACHE_MAX_GB` isn't a size.
        """
        return cls(
            cache_folder(folder).joinpath(*_PLACE), max_bytes_from_environment() // _SHARE_OF_CACHE, verify=verify
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()
        self._close()

    def find(self, paths: Sequence[str], stats_of: StatsOf) -> list[bytes | None]:
        """The digest of each of these files; None if it is unknown or has changed.

        `stats_of` returns the stat values of some of them, and None for those that have none.
        """
        found: list[bytes | None] = [None] * len(paths)
        keys, recent = list(_keys(paths)), self._recent
        rows = self._rows(keys)
        for (at, row), stat in zip(rows.items(), stats_of([paths[at] for at in rows]), strict=True):
            digest, seal, seen = row
            if stat is None or type(digest) is not bytes or seal != _seal(keys[at], stat, digest):
                continue
            found[at] = digest
            if seen not in recent:
                self._seen[keys[at]] = digest, seal
        return found

    def add(self, paths: Sequence[str], read: Sequence[ReadFile]) -> None:
        """Add files that were read, and forget those that changed so recently that another change might not show."""
        for key, file in zip(_keys(paths), read, strict=True):
            stat = file.lasting_stat
            self._pending[key] = None if stat is None else (file.digest, _seal(key, stat, file.digest))
        if len(self._pending) >= _MAX_PENDING:
            self.save()

    def save(self) -> None:
        """Write what was added, in one transaction."""
        pending, seen, self._pending, self._seen = self._pending, self._seen, {}, {}
        rows = seen | {key: row for key, row in pending.items() if row is not None}
        with self._failing_softly(logging.WARNING if pending else logging.DEBUG):
            if not self._is_usable or not (rows or (pending and self.database.exists())):
                return
            make_private(self.database.parent)
            with self._transaction("IMMEDIATE") as table:
                if not _format_of(table):
                    for statement in _SCHEMA:
                        table.execute(statement)
                if self._is_full(table):
                    log.warning(
                        "the table of known files %s has reached its size limit: %d more files will be read again; "
                        "BREEDCLF_CACHE_MAX_GB raises the limit",
                        self.database,
                        len(rows.keys() - seen),
                    )
                    rows = seen
                self._write(table, seen | pending, rows)

    def entries(self) -> list[CacheEntry]:
        """The SQLite file, if there is one."""
        try:
            status = self.database.stat()
        except OSError:
            return []
        return [CacheEntry(self.database, status.st_size, status.st_mtime)]

    def clear(self) -> list[CacheEntry]:
        """Delete the SQLite file unless a process is using it; returns what was deleted."""
        entries = self.entries()
        try:
            if entries:
                with self._transaction("EXCLUSIVE"):
                    self._delete()
        except (sqlite3.Error, OSError) as error:
            if not _is_damage(error) or not self._was_deleted():
                log.debug("%s stays in the cache: %s", self.database, error)
                return []
        finally:
            self._close()
        return entries

    def _rows(self, keys: Sequence[_Key]) -> dict[int, tuple[object, object, object]]:
        """Digest, seal and last day of the files that have a row, by their position; a damaged row has any values."""
        rows, ids = {}, dict[bytes, tuple[int] | None]()
        with self._failing_softly():
            if not (self._is_usable and self.database.exists()):
                return {}
            with self._transaction("DEFERRED") as table:
                if not _format_of(table):
                    return {}
                for at, (folder, name) in enumerate(keys):
                    if folder not in ids:
                        ids[folder] = table.execute("SELECT id FROM folders WHERE path = ?", (folder,)).fetchone()
                    if (known_folder := ids[folder]) is None:
                        continue
                    if (row := table.execute(_FIND, (*known_folder, name)).fetchone()) is not None:
                        rows[at] = row
        return rows

    def _write(self, table: sqlite3.Connection, pending: Iterable[_Key], rows: Mapping[_Key, _Row]) -> None:
        today, ids = self._today(), dict[bytes, int]()
        for folder in {folder for folder, _ in pending}:
            table.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (folder,))
            ids[folder] = table.execute("SELECT id FROM folders WHERE path = ?", (folder,)).fetchone()[0]
        unknown = ((ids[folder], name) for folder, name in pending if (folder, name) not in rows)
        table.executemany("DELETE FROM files WHERE folder = ? AND name = ?", unknown)
        known = ((ids[folder], name, *row, today) for (folder, name), row in rows.items())
        table.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", known)

    def _is_full(self, table: sqlite3.Connection) -> bool:
        """Whether the size limit is reached, even after files that weren't seen for the longest time are dropped."""
        if _size_of(table) < self._max_bytes:
            return False
        days = table.execute("SELECT seen, count(*) FROM files GROUP BY seen ORDER BY seen DESC").fetchall()
        rows, kept = sum(count for _, count in days), 0
        for day, count in days:
            kept += count
            if kept > rows // 2:
                table.execute("DELETE FROM files WHERE seen < ?", (min(day + 1, self._recent.start),))
                table.execute("DELETE FROM folders WHERE id NOT IN (SELECT folder FROM files)")
                break
        return _size_of(table) >= self._max_bytes

    def _today(self) -> int:
        return self.clock_ns() // _DAY_NS

    @property
    def _recent(self) -> range:
        """The days of which one is recorded for all files that are in use."""
        return range(self._today() - _SEEN_EVERY + 1, self._today() + 1)

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            self._connection = sqlite3.connect(self.database, timeout=_LOCK_SECONDS, isolation_level=None)
            self._connection.text_factory = bytes  # of damaged rows
        table = self._connection
        table.execute(f"BEGIN {kind}")
        try:
            yield table
            table.execute("COMMIT")
        finally:
            if table.in_transaction:
                table.rollback()

    @contextlib.contextmanager
    def _failing_softly(self, level: int = logging.WARNING) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._close()
            if _is_damage(error):
                log.warning("the table of known files %s is damaged (%s): files are read again", self.database, error)
                self._is_usable = self._was_deleted()
            else:
                why = refusal(error) if isinstance(error, OSError) else error
                log.log(
                    level, "the table of known files %s can't be used (%s); continuing without it", self.database, why
                )
                self._is_usable = False

    def _delete(self) -> None:
        for suffix in ("", "-journal"):
            self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)

    def _was_deleted(self) -> bool:
        try:
            self._delete()
        except OSError:
            return False
        return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _keys(paths: Sequence[str]) -> Iterator[_Key]:
    """The absolute folder and the name of each file, as bytes, since names may be undecodable."""
    folders: dict[str, bytes] = {}
    for path in paths:
        name = path.rpartition(os.sep)[2]
        folder = path[: len(path) - len(name)]
        if folder not in folders:
            folders[folder] = os.fsencode(Path(folder).absolute())
        yield folders[folder], os.fsencode(name)


def _seal(key: _Key, stat: FileStat, digest: bytes) -> bytes:
    """A hash of all values of a row; that of a file whose row has it is the same as when the row was written."""
    return hashlib.blake2b(b"%b/%b %d %d %d %d %b" % (*key, *stat, digest), digest_size=16).digest()


def _format_of(table: sqlite3.Connection) -> int:
    """The format of the table; 0 for a new one.

    Raises:
        OSError: it is of a newer version.
    """
    found: int = table.execute("PRAGMA user_version").fetchone()[0]
    if found > _FORMAT:
        raise OSError(f"it has format {found}, which is newer than this version of breedclf")
    return found


def _size_of(table: sqlite3.Connection) -> int:
    pages, free, size = (
        int(table.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _is_damage(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
