"""A feature bank as a module, for graphs of other runtimes: its rows are stored in half precision."""

from __future__ import annotations

import torch
from torch import nn

from breedclf.inference.feature_bank import FeatureBank


class BankModule(nn.Module):
    """Features [N, D] of any float type to distances float32 [N], by the operations of `FeatureBank.distances`."""

    def __init__(self, bank: FeatureBank) -> None:
        super().__init__()
        self.neighbor: int = bank.neighbor
        self.rows = nn.Buffer(bank.rows.half())
        self.basis = None if bank.basis is None else nn.Buffer(bank.basis)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return FeatureBank(self.rows, self.neighbor, self.basis).distances(features)
