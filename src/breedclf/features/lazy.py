"""A source of features that are read when a batch needs them, from the shards of the store or from memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from breedclf.features.extraction import StoredFeatures
from breedclf.features.found import FoundFeatures
from breedclf.files.disk import refusal

log: logging.Logger = logging.getLogger(__name__)

_BYTES_AT_A_TIME = 1 << 24


@dataclass
class LazyFeatures:
    """Features that are read when a batch needs them, with targets int64 [N], whose device batches are moved to.

    Args:
        found: where they are.
        targets: int64 [N].
        dtype: that of the batches; None leaves the stored one.
        compute: the features [B, ...] of the images at some positions, in case the store can't be read any more.
    """

    found: FoundFeatures
    targets: torch.Tensor
    dtype: torch.dtype | None
    compute: Callable[[torch.Tensor], torch.Tensor]
    _has_failed: bool = False

    @property
    def kept(self) -> torch.Tensor:
        """int64 [N], the positions of the readable images."""
        return self.found.kept

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.split(rows, batch_size):
            features = self._read(batch).to(self.targets.device)
            yield features if self.dtype is None else features.to(self.dtype), self.targets[batch]

    def loaded(self) -> StoredFeatures:
        """All features on the device."""
        count, done = len(self.kept), 0
        values = torch.empty(0, 0)
        at_a_time = max(1, _BYTES_AT_A_TIME // max(1, self.found.row_bytes))
        for features, _ in self.batches(torch.arange(count), at_a_time):
            if not done:
                values = features.new_empty(count, *features.shape[1:])
            values[done : done + len(features)] = features
            done += len(features)
        return StoredFeatures(values, self.targets, self.kept)

    def _read(self, batch: torch.Tensor) -> torch.Tensor:
        try:
            return self.found.read(batch.numpy())
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("stored features can't be read (%s); computing them again when needed", refusal(error))
            return self.compute(self.kept[batch])
