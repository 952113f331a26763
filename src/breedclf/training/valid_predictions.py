"""The validation outputs of one epoch, collected only for hooks and metrics that use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from breedclf.training.distributed import DistributedContext


@dataclass(frozen=True, eq=False)
class ValidPredictions:
    """The validation outputs of one epoch; row i of each field is the same image, in the order of the split.

    Args:
        labels: the class labels [C], in the order of the columns.
        probabilities: float32 [N, C] on the CPU, from 0 to 1; each row sums to 1.
        targets: int64 [N] on the CPU, the true classes as indices into `labels`.
        images: the names [N] of the images; for files, their paths.

    Example:
        >>> import torch
        >>> predictions = ValidPredictions(("cat", "dog"), torch.tensor([[0.9, 0.1]]), torch.tensor([1]), ("x.jpg",))
        >>> predictions.predicted.tolist(), predictions.is_correct.tolist()
        ([0], [False])
    """

    labels: Sequence[str]
    probabilities: torch.Tensor
    targets: torch.Tensor
    images: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predicted(self) -> torch.Tensor:
        """int64 [N], the most probable classes."""
        return self.probabilities.argmax(1)

    @property
    def is_correct(self) -> torch.Tensor:
        """bool [N], whether the most probable class is the true one."""
        return self.predicted == self.targets


class ScoreCollector:
    """Collects the scores of this process's share of the validation images during one epoch."""

    def __init__(self, classes: int) -> None:
        self._parts: list[torch.Tensor] = []
        self._classes = classes

    def add(self, scores: torch.Tensor) -> None:
        """Add the scores [B, C] of the next batch, which stay on their device."""
        self._parts.append(scores.detach())

    def predictions(
        self,
        labels: Sequence[str],
        targets: torch.Tensor,
        images: Callable[[], Sequence[str]],
        distributed: DistributedContext,
    ) -> ValidPredictions | None:
        """The predictions of all processes in the first one; None in the others."""
        scores = torch.cat(self._parts) if self._parts else torch.empty(0, self._classes)
        scores = distributed.gathered(scores.float(), len(targets))
        if not distributed.is_first:
            return None
        return ValidPredictions(labels, scores.softmax(1).cpu(), targets.cpu(), images())
