"""Shards: files of feature rows of one size, which only grow; each has at most one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from breedclf.features.store.index import Index
from breedclf.files.disk import sync_folder

MAX_BYTES = 1 << 28
"""A shard takes no more rows from this size on; also what is evicted at a time."""

SUFFIX = ".rows"


def shard_file(folder: Path, shard: int) -> Path:
    return folder / f"{shard:06}{SUFFIX}"


def shard_files(folder: Path) -> dict[int, Path]:
    """The files of all shards in a folder, by their numbers."""
    return {int(path.stem): path for path in sorted(folder.glob(f"*{SUFFIX}")) if path.stem.isdecimal()}


class ShardWriter:
    """Appends rows of `row_bytes` bytes to a shard that no other process writes to, until it is closed or dies.

    What an earlier writer appended without recording it in the index is cut off.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, folder: Path, index: Index, row_bytes: int) -> None:
        self._folder, self._row_bytes = folder, row_bytes
        self.shard, self._lock = self._claimed(index)
        try:
            self.rows = index.shards()[self.shard]
            self._file: BinaryIO = shard_file(folder, self.shard).open("r+b")
            self._file.truncate(self.rows * row_bytes)
        except BaseException:
            self._lock.release()
            raise

    @property
    def is_full(self) -> bool:
        return self.rows * self._row_bytes >= MAX_BYTES

    def append(self, rows: NDArray[np.uint8]) -> int:
        """Append rows [N, row_bytes], durable on return; returns the number of the first one.

        Raises:
            OSError: the disk refuses, or the shard was deleted.
        """
        first = self.rows
        self._file.seek(first * self._row_bytes)
        self._file.write(np.ascontiguousarray(rows).data)
        self._file.flush()
        os.fsync(self._file.fileno())
        if not os.fstat(self._file.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "it was deleted", str(shard_file(self._folder, self.shard)))
        self.rows += len(rows)
        return first

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a failed write left to be written
            self._file.close()
        self._lock.release()

    def _claimed(self, index: Index) -> tuple[int, FileLock]:
        for shard, rows in index.shards().items():
            if rows * self._row_bytes >= MAX_BYTES:
                continue
            file = shard_file(self._folder, shard)
            lock = FileLock(file.with_suffix(".lock"), blocking=False)
            try:
                lock.acquire()
            except Timeout:
                continue
            size = index.shards().get(shard, 0) * self._row_bytes
            if size < MAX_BYTES and file.is_file() and file.stat().st_size >= size:
                return shard, lock
            lock.release()
        shard = index.new_shard()
        file = shard_file(self._folder, shard)
        lock = FileLock(file.with_suffix(".lock"))
        lock.acquire()
        file.touch()
        sync_folder(self._folder)
        return shard, lock
