"""A source of features that are read when a batch needs them, from the shards of the store or from memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from breedclf.features.found import FoundFeatures

LOADED_BYTES = 1 << 28
"""Features of a split and view that take more bytes in the store than this aren't loaded."""


@dataclass(frozen=True)
class LazyFeatures:
    """Features that are read when a batch needs them, with targets int64 [N], whose device batches are moved to.

    `dtype` is that of the batches; None leaves the stored one.
    """

    found: FoundFeatures
    targets: torch.Tensor
    dtype: torch.dtype | None = None

    @property
    def kept(self) -> torch.Tensor:
        """int64 [N], the positions of the readable images."""
        return self.found.kept

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.split(rows, batch_size):
            features = self.found.read(batch.numpy()).to(self.targets.device)
            yield features if self.dtype is None else features.to(self.dtype), self.targets[batch]
