"""What a head is trained on: rows of inputs with their targets, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch


class FeatureSource(Protocol):
    """Where a training gets features from; rows are numbered from 0 to `len(targets)` and `targets` is int64."""

    @property
    def targets(self) -> torch.Tensor: ...

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features [B, D] and targets [B] of the rows, in order, a batch at a time."""
        ...
