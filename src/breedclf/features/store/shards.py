"""Shards: files of feature rows of one size, which only grow; each has at most one writer at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from breedclf.features.store.index import Index

MAX_BYTES = 1 << 30


def shard_file(folder: Path, shard: int) -> Path:
    return folder / f"{shard:06}.rows"


class ShardWriter:
    """Appends rows of `row_bytes` bytes to a shard that no other process writes to, until it is closed or dies.

    What an earlier writer appended without recording it in the index is cut off.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, folder: Path, index: Index, row_bytes: int) -> None:
        self._folder, self._row_bytes = folder, row_bytes
        self.shard, self._lock = self._claimed(index)
        self.rows = index.shards()[self.shard]
        self._file: BinaryIO = shard_file(folder, self.shard).open("r+b")
        self._file.truncate(self.rows * row_bytes)
        self._file.seek(self.rows * row_bytes)

    @property
    def is_full(self) -> bool:
        return self.rows * self._row_bytes >= MAX_BYTES

    def append(self, rows: NDArray[np.uint8]) -> int:
        """Append rows [N, row_bytes], durable on return; returns the number of the first one."""
        first = self.rows
        self._file.seek(first * self._row_bytes)
        self._file.write(np.ascontiguousarray(rows).data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += len(rows)
        return first

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def _claimed(self, index: Index) -> tuple[int, FileLock]:
        for shard, rows in index.shards().items():
            file, size = shard_file(self._folder, shard), rows * self._row_bytes
            lock = FileLock(file.with_suffix(".lock"), blocking=False)
            try:
                lock.acquire()
            except Timeout:
                continue
            rows = index.shards()[shard]
            size = rows * self._row_bytes
            if size < MAX_BYTES and file.exists() and file.stat().st_size >= size:
                return shard, lock
            lock.release()
        shard = index.new_shard()
        lock = FileLock(shard_file(self._folder, shard).with_suffix(".lock"))
        lock.acquire()
        shard_file(self._folder, shard).touch()
        return shard, lock
