"""The features of the readable images of a list, wherever they are: rows of shards, or in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.config import OnBadImage
from breedclf.features.store.index import Rows
from breedclf.features.store.reading import ShardReader
from breedclf.features.values import Features, reasons_of
from breedclf.runtime.row_buffer import RowBuffer

IN_MEMORY = -2
"""The shard of features that aren't in the store; their rows are those of a `FeatureBuffer`."""


class FeatureBuffer:
    """Features in memory, at most `count`."""

    def __init__(self, count: int) -> None:
        self._rows = RowBuffer(count)

    @property
    def values(self) -> torch.Tensor:
        """The features that were added, [N, ...]."""
        return self._rows.values

    def add(self, features: torch.Tensor) -> Rows:
        """Add features [N, ...] and return their rows."""
        first, new = len(self._rows), len(features)
        self._rows.append(features)
        return Rows(np.full(new, IN_MEMORY), np.arange(first, first + new), np.zeros(new, np.int64))


@dataclass(frozen=True)
class FoundFeatures:
    """Where the features of the readable images of a list are.

    Args:
        rows: of the N readable images.
        kept: int64 [N], their positions in the list.
        bad: maps the positions of unreadable images to the reason.
        reader: reads the shards; None if no features are in the store.
        in_memory: features [M, ...] that aren't in the store.
    """

    rows: Rows
    kept: torch.Tensor
    bad: dict[int, str]
    reader: ShardReader | None
    in_memory: torch.Tensor

    @property
    def row_bytes(self) -> int:
        """The size of a feature."""
        if self.reader is not None:
            return self.reader.row_type.row_bytes
        return self.in_memory[:1].nbytes

    @property
    def values(self) -> int:
        """The number of values of all features."""
        if self.reader is not None:
            return len(self.kept) * math.prod(self.reader.row_type.shape)
        return len(self.kept) * self.in_memory[:1].numel()

    def empty(self, count: int) -> torch.Tensor:
        """An uninitialized tensor for `count` features, in the stored dtype."""
        if self.reader is not None:
            return self.reader.row_type.empty(count)
        return self.in_memory.new_empty(count, *self.in_memory.shape[1:])

    def read(self, images: NDArray[np.int64], into: torch.Tensor | None = None) -> torch.Tensor:
        """The features [N, ...] of some of the readable images, in the stored dtype; `into` is a tensor for them.

        Raises:
            OSError: the store can't be read.
        """
        values = self.empty(len(images)) if into is None else into
        if not len(images):
            return values
        rows = self.rows.of(images)
        here = np.flatnonzero(rows.shards == IN_MEMORY)
        if self.reader is None or len(here) == len(images):
            return torch.index_select(self.in_memory, 0, torch.from_numpy(rows.rows), out=values)
        if not len(here):
            return self.reader.read(rows, values)
        there = np.flatnonzero(rows.found)
        values[torch.from_numpy(there)] = self.reader.read(rows.of(there))
        values[torch.from_numpy(here)] = self.in_memory[torch.from_numpy(rows.rows[here])]
        return values

    def left_out(self, on_bad_image: OnBadImage) -> list[str]:
        """As `Features.left_out`."""
        return reasons_of(self.bad, len(self.kept), on_bad_image)

    def loaded(self) -> Features:
        """All of them in memory.

        Raises:
            OSError: the store can't be read.
        """
        return Features(self.read(np.arange(len(self.kept))), self.kept, self.bad)
