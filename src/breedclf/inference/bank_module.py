"""A feature bank as a module, for graphs of other runtimes."""

from __future__ import annotations

import torch
from torch import nn

from breedclf.inference.feature_bank import FeatureBank


class BankModule(nn.Module):
    """Features [N, D] of any float type to distances float32 [N]; the bank's tensors become constants of a graph.

    Args:
        bank: as `read_bank` returns it, with its rows in half precision, which a file then has, too.
    """

    def __init__(self, bank: FeatureBank) -> None:
        super().__init__()
        self._bank = bank

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self._bank.distances(features)
