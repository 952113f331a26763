"""The losses of the steps of an epoch."""

from __future__ import annotations

import torch


class StepLosses:
    """Scalars on the device, in one tensor that doubles when it is full.

    A small block of memory for each step would lie between the large ones of the batches and fragment the heap: a long
    epoch would take hundreds of MB more.

    Example:
        >>> losses = StepLosses()
        >>> losses.append(torch.tensor(0.5))
        >>> len(losses), losses.values
        (1, tensor([0.5000]))
    """

    def __init__(self, values: torch.Tensor | None = None) -> None:
        self._values = torch.empty(0) if values is None else values
        self._count = len(self._values)

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> torch.Tensor:
        """All losses [N] so far."""
        return self._values[: self._count]

    def append(self, loss: torch.Tensor) -> None:
        if self._count == len(self._values):
            grown = loss.new_empty(max(1024, 2 * self._count))
            grown[: self._count] = self.values
            self._values = grown
        self._values[self._count] = loss
        self._count += 1
