"""Reading rows of shards, also of ones that are deleted meanwhile."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.features.store.index import Rows
from breedclf.features.store.row_type import RowType, as_bytes
from breedclf.features.store.shards import shard_file


class ShardReader:
    """Reads features of one type; a shard that was opened stays readable when its file is deleted."""

    def __init__(self, folder: Path, row_type: RowType) -> None:
        self.folder: Path = folder
        self.row_type: RowType = row_type
        self._files: dict[int, int] = {}
        weakref.finalize(self, _close, self._files)

    def read(self, rows: Rows, into: torch.Tensor | None = None) -> torch.Tensor:
        """The features of images that were found, [N, ...] in the stored dtype; `into` is a tensor for them.

        Raises:
            OSError: a shard was deleted before it was opened, was cut off, or can't be read.
        """
        values = self.row_type.empty(len(rows.shards)) if into is None else into
        if not self.read_into(rows, as_bytes(values)).all():
            raise OSError(f"rows of {self.folder} are missing")
        return values

    def read_into(self, rows: Rows, into: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Read rows into an array [N, row_bytes]; returns which of them a shard has, bool [N]."""
        there, row_bytes = np.zeros(len(rows.shards), bool), self.row_type.row_bytes
        memory = into.reshape(-1).data
        for first, last, shard, row in _runs(rows):
            try:
                part = memory[first * row_bytes : last * row_bytes]
                size = _read_at(self._file(shard), part, row * row_bytes)
                there[first : first + size // row_bytes] = True
            except OSError:
                continue
        return there

    def hold(self, shard: int) -> None:
        """Open a shard now, so that it can be read when its file is deleted.

        Raises:
            OSError: it can't be opened.
        """
        self._file(shard)

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._files[shard] = os.open(shard_file(self.folder, shard), flags)
        return self._files[shard]


def _read_at(file: int, into: memoryview, offset: int) -> int:
    """Read into a buffer from an offset of a file; returns the number of bytes, which is smaller at the end of it."""
    if hasattr(os, "preadv"):  # processes that share the file don't move each other's position
        return os.preadv(file, [into], offset)
    os.lseek(file, offset, os.SEEK_SET)
    content = os.read(file, len(into))
    into[: len(content)] = content
    return len(content)


def _close(files: dict[int, int]) -> None:
    for file in files.values():
        os.close(file)


def _runs(rows: Rows) -> Iterator[tuple[int, int, int, int]]:
    """Images whose rows follow each other in a shard: the first, the last + 1, the shard and the row of the first."""
    follows = (np.diff(rows.shards) == 0) & (np.diff(rows.rows) == 1)
    firsts = np.concatenate([[0], np.flatnonzero(~follows) + 1])[: len(rows.shards)]
    lasts = [*firsts[1:].tolist(), len(rows.shards)]
    return zip(firsts.tolist(), lasts, rows.shards[firsts].tolist(), rows.rows[firsts].tolist(), strict=False)
