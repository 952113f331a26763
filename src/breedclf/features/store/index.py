"""The index of a feature set: where the row of each image is, in a SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from breedclf.data.digests import DIGEST_BYTES

FILE = "index.sqlite"
_LOOKUPS_AT_A_TIME = 1 << 16
_WAIT_SECONDS = 60.0
_MOST = 1 << 40
_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    digest BLOB PRIMARY KEY, shard INTEGER NOT NULL, row INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
"""
# All digests are one parameter: the number of parameters is limited, to 999 by older versions of SQLite.
_FIND = f"""
WITH RECURSIVE asked(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM asked WHERE at + 1 < ?2)
SELECT at, shard, row, checksum
FROM asked CROSS JOIN images ON digest = substr(?1, at * {DIGEST_BYTES} + 1, {DIGEST_BYTES})
"""
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_MISMATCH")


class DamagedError(ValueError):
    """The files of a set are damaged, so that its features must be computed again."""


@dataclass(frozen=True)
class Rows:
    """Where the features of N images are: int64 [N] each; the shard of a missing image is -1."""

    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    checksums: NDArray[np.int64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which images have features, bool [N]."""
        return self.shards >= 0

    def of(self, images: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The rows of some of the images."""
        return Rows(self.shards[images], self.rows[images], self.checksums[images])

    def put(self, images: NDArray[np.int64], found: Rows) -> None:
        """Replace the rows of some of the images."""
        self.shards[images], self.rows[images], self.checksums[images] = found.shards, found.rows, found.checksums

    @classmethod
    def missing(cls, count: int) -> Rows:
        """The rows of images that have no features."""
        return cls(*(np.full(count, -1, np.int64) for _ in range(3)))


class Index:
    """The database of one set; several processes of a machine may use it at once, each with an index of its own.

    Args:
        path: the database; its folder must exist.
        writable: False to read a database on a read-only disk.

    Raises:
        DamagedError: the database is damaged; all methods raise it.
        sqlite3.Error: it can't be read or written; all methods raise it.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        if writable:
            self._database = _connected(path, "rwc")
            return
        try:
            self._database = _connected(path, "ro")
        except sqlite3.OperationalError:
            # On a read-only disk there is no place for what processes share, nor is it needed if all is in one file.
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise
            self._database = _connected(path, "ro&immutable=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        with _damage():
            return int(self._database.execute("SELECT COUNT(*) FROM images").fetchone()[0])

    def find(self, digests: NDArray[np.uint8]) -> Rows:
        """The rows of images by their digests, uint8 [N, 16]."""
        rows = Rows.missing(len(digests))
        for start in range(0, len(digests), _LOOKUPS_AT_A_TIME):
            some = np.ascontiguousarray(digests[start : start + _LOOKUPS_AT_A_TIME])
            order = np.lexsort(some.view(">u8").T[::-1])  # neighbors in the order of the database are on one page
            with _damage():
                found = self._database.execute(_FIND, (some[order].tobytes(), len(some))).fetchall()
                table = np.array(found, np.int64).reshape(-1, 4)
            table = table[((table[:, 1:3] >= 0) & (table[:, 1:3] < _MOST)).all(1)]  # others are damaged
            rows.put(start + order[table[:, 0]], Rows(*table[:, 1:].T))
        return rows

    def shards(self) -> dict[int, int]:
        """The number of rows of each shard."""
        with _damage():
            found = self._database.execute("SELECT id, rows FROM shards ORDER BY id").fetchall()
            return {int(shard): max(0, int(rows)) for shard, rows in found}

    def new_shard(self) -> int:
        """Reserve the number of a new shard."""
        with _damage(), self._database:
            return int(self._database.execute("INSERT INTO shards (rows) VALUES (0)").lastrowid or 0)

    def add(self, digests: NDArray[np.uint8], shard: int, first_row: int, checksums: Sequence[int]) -> None:
        """Record rows that were appended to a shard, in one transaction."""
        entries = [
            (digest.tobytes(), shard, row, checksum)
            for row, (digest, checksum) in enumerate(zip(digests, checksums, strict=True), first_row)
        ]
        with _damage(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", entries)
            self._database.execute("UPDATE shards SET rows = ? WHERE id = ?", (first_row + len(entries), shard))

    def drop(self, digests: NDArray[np.uint8], rows: Rows) -> None:
        """Forget the rows of images, so that their features are computed again; newer rows of the images stay."""
        entries = zip(map(bytes, digests), rows.shards.tolist(), rows.rows.tolist(), strict=True)
        with _damage(), self._database:
            self._database.executemany("DELETE FROM images WHERE digest = ? AND shard = ? AND row = ?", entries)

    def drop_shard(self, shard: int) -> None:
        """Forget a shard and its images."""
        with _damage(), self._database:
            self._database.execute("DELETE FROM images WHERE shard = ?", (shard,))
            self._database.execute("DELETE FROM shards WHERE id = ?", (shard,))


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    with _damage():
        database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", timeout=_WAIT_SECONDS, isolation_level="IMMEDIATE", uri=True
        )
        try:
            if mode == "rwc":
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=FULL")
                database.executescript(_SCHEMA)
            database.execute("SELECT COUNT(*) FROM shards").fetchone()
        except BaseException:
            database.close()
            raise
        return database


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except DamagedError:
        raise
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorname", None) or "").startswith(_DAMAGE):
            raise DamagedError(f"its index is damaged: {error}") from error
        raise
    except (TypeError, ValueError, OverflowError) as error:  # a value of another type
        raise DamagedError(f"its index is damaged: {error}") from error
