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
        self.folder, self.row_type = folder, row_type
        self._files: dict[int, int] = {}
        weakref.finalize(self, _close, self._files)

    def read(self, rows: Rows) -> torch.Tensor:
        """The features of images that were found, [N, ...] in the stored dtype.

        Raises:
            OSError: a shard was deleted before it was opened, was cut off, or can't be read.
        """
        values = self.row_type.empty(len(rows.shards))
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
                size = os.preadv(self._file(shard), (part,), row * row_bytes)
                there[first : first + size // row_bytes] = True
            except OSError:
                continue
        return there

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            self._files[shard] = os.open(shard_file(self.folder, shard), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        return self._files[shard]


def _close(files: dict[int, int]) -> None:
    for file in files.values():
        os.close(file)


def _runs(rows: Rows) -> Iterator[tuple[int, int, int, int]]:
    """Images whose rows follow each other in a shard: the first, the last + 1, the shard and the row of the first."""
    follows = (np.diff(rows.shards) == 0) & (np.diff(rows.rows) == 1)
    firsts = np.concatenate([[0], np.flatnonzero(~follows) + 1])[: len(rows.shards)]
    lasts = [*firsts[1:].tolist(), len(rows.shards)]
    return zip(firsts.tolist(), lasts, rows.shards[firsts].tolist(), rows.rows[firsts].tolist(), strict=False)
