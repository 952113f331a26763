"""Rows that arrive in parts, gathered in one tensor."""

from __future__ import annotations

import torch


class RowBuffer:
    """Rows [N, ...] on the CPU; small tensors between the large blocks of each batch would fragment the memory.

    Args:
        expected: how many rows there will be; more are accepted.
        like: rows of the shape and type of all; those of the first ones by default.
    """

    def __init__(self, expected: int, like: torch.Tensor | None = None) -> None:
        self._expected, self._count = max(1, expected), 0
        self._rows = torch.empty(0, 0) if like is None else self._room_for(like)

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> torch.Tensor:
        """The rows so far, in the memory of all that are expected."""
        return self._rows[: self._count]

    def append(self, rows: torch.Tensor) -> None:
        """Append rows [M, ...]."""
        if not len(self._rows):
            self._rows = self._room_for(rows)
        needed = self._count + len(rows)
        if needed > len(self._rows):
            larger = self._rows.new_empty(max(needed, 2 * len(self._rows)), *self._rows.shape[1:])
            larger[: self._count] = self.values
            self._rows = larger
        self._rows[self._count : needed] = rows
        self._count = needed

    def tensor(self) -> torch.Tensor:
        """The rows so far, in no more memory than they need."""
        return self._rows if self._count == len(self._rows) else self.values.clone()

    def _room_for(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.empty(self._expected, *rows.shape[1:], dtype=rows.dtype)
