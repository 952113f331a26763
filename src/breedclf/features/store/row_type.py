"""The type of the features of a set, and their bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class RowType:
    """The type of a feature: `float32` or `bfloat16`, and its shape, such as (2048,)."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, values: torch.Tensor) -> Self:
        """The type of features [N, ...]."""
        return cls(str(values.dtype).removeprefix("torch."), tuple(values.shape[1:]))

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize

    def empty(self, count: int) -> torch.Tensor:
        """An uninitialized tensor for `count` features."""
        return torch.empty(count, *self.shape, dtype=_DTYPES[self.dtype])


def as_bytes(values: torch.Tensor) -> NDArray[np.uint8]:
    """The memory of features [N, ...] as uint8 [N, row_bytes]."""
    flat: NDArray[np.uint8] = values.view(len(values), math.prod(values.shape[1:])).view(torch.uint8).numpy()
    return flat
