"""The index of a feature set: where the row of each image is, in a SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breedclf.data.digests import DIGEST_BYTES

_LOOKUPS_AT_A_TIME = 10_000
_WAIT_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    digest BLOB PRIMARY KEY, shard INTEGER NOT NULL, row INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
"""


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
    """The database of one set; several processes may use it at once, each with an index of its own.

    Raises:
        sqlite3.Error: the database is damaged, or can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level="IMMEDIATE")
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM images").fetchone()[0])

    def find(self, digests: NDArray[np.uint8]) -> Rows:
        """The rows of images by their digests, uint8 [N, 16]."""
        rows = Rows.missing(len(digests))
        keys = [each.tobytes() for each in digests]
        for start in range(0, len(keys), _LOOKUPS_AT_A_TIME):
            some = keys[start : start + _LOOKUPS_AT_A_TIME]
            marks = ",".join("?" * len(some))
            query = f"SELECT digest, shard, row, checksum FROM images WHERE digest IN ({marks})"
            found = {digest: where for digest, *where in self._database.execute(query, some)}
            for position, key in enumerate(some, start):
                if key in found:
                    rows.shards[position], rows.rows[position], rows.checksums[position] = found[key]
        return rows

    def shards(self) -> dict[int, int]:
        """The number of rows of each shard."""
        return dict(self._database.execute("SELECT id, rows FROM shards ORDER BY id"))

    def new_shard(self) -> int:
        """Reserve the number of a new shard."""
        with self._database:
            return int(self._database.execute("INSERT INTO shards (rows) VALUES (0)").lastrowid or 0)

    def add(self, digests: NDArray[np.uint8], shard: int, first_row: int, checksums: Sequence[int]) -> None:
        """Record rows that were appended to a shard, in one transaction; an image that has a row keeps it."""
        entries = [
            (digest.tobytes(), shard, row, checksum)
            for row, (digest, checksum) in enumerate(zip(digests, checksums, strict=True), first_row)
        ]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?)", entries)
            self._database.execute("UPDATE shards SET rows = ? WHERE id = ?", (first_row + len(entries), shard))

    def drop(self, digests: NDArray[np.uint8]) -> None:
        """Forget images, so that their features are computed again."""
        assert digests.shape[1:] == (DIGEST_BYTES,)
        with self._database:
            self._database.executemany("DELETE FROM images WHERE digest = ?", [(each.tobytes(),) for each in digests])
