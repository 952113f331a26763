"""The interface of the sources that a head is trained on: batches of features with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch


class FeatureSource(Protocol):
    """A source of features; rows are numbered from 0 to `len(targets) - 1`, and `targets` is int64."""

    @property
    def targets(self) -> torch.Tensor: ...

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features [B, D] and targets [B] of the given rows, in order, one batch at a time.

        A batch is valid until the second one after it is read.
        """
        ...
