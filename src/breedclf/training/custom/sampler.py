"""Which images an epoch trains on, in which order: all of them shuffled, or what your own function draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from breedclf.errors import ConfigError, TrainingError
from breedclf.runtime.own_code import described_value
from breedclf.training.custom.calls import own_call, takes

SamplerFunction = Callable[[torch.Tensor, int, torch.Generator], torch.Tensor]
"""Maps targets int64 [N], the epoch (from 1) and a generator to the rows int64 [M] to train on, in order."""

_CONTRACT = "a sampler takes targets int64 [N], the epoch and a torch.Generator, and returns row numbers int64 [M]"


class Shuffle:
    """All images in random order."""

    def rows(self, targets: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG002
        """The rows [N] of an epoch."""
        return torch.randperm(len(targets), generator=generator)

    def mark(self, rows: torch.Tensor) -> str | None:  # noqa: ARG002
        """None: a generator gives the same rows again."""
        return None


@dataclass(frozen=True)
class OwnSampler:
    """A function of your own; `what` names it in messages."""

    function: SamplerFunction
    what: str

    def rows(self, targets: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        """The rows [M] of an epoch, on the CPU.

        Raises:
            TrainingError: it raised an exception, or returned something else than valid row numbers.
        """
        return self._drawn(targets, epoch, generator)

    def check(self, class_counts: Sequence[int]) -> None:
        """Call it once before the run, with as many targets of each class as there are images.

        Raises:
            TrainingError: as `rows`.
        """
        targets = torch.repeat_interleave(torch.arange(len(class_counts)), torch.tensor(class_counts))
        self._drawn(targets, 1, torch.Generator().manual_seed(0), warns=True)

    def mark(self, rows: torch.Tensor) -> str | None:
        """A hash of the rows, by which a resumed run finds out whether they are the same."""
        return hashlib.blake2b(rows.numpy().tobytes(), digest_size=16).hexdigest()

    def _drawn(
        self, targets: torch.Tensor, epoch: int, generator: torch.Generator, *, warns: bool = False
    ) -> torch.Tensor:
        with own_call(self.what, warns=warns):
            found = self.function(targets.cpu().clone(), epoch, generator)
        return self._checked(found, len(targets), epoch)

    def _checked(self, rows: object, count: int, epoch: int) -> torch.Tensor:
        where = f"{self.what}, epoch {epoch}:"
        if not isinstance(rows, torch.Tensor):
            raise TrainingError(f"{where} it returned {described_value(rows)}; {_CONTRACT}")
        if rows.dim() != 1 or rows.dtype.is_floating_point or rows.dtype.is_complex or rows.dtype == torch.bool:
            shape = f"{[*rows.shape]} of {str(rows.dtype).removeprefix('torch.')}"
            raise TrainingError(f"{where} it returned a tensor {shape}; {_CONTRACT}")
        if not len(rows):
            raise TrainingError(f"{where} it returned no rows, but an epoch needs at least one image")
        rows = rows.detach().to("cpu", torch.int64).contiguous()
        wrong = rows[(rows < 0) | (rows >= count)]
        if len(wrong):
            raise TrainingError(
                f"{where} it returned the row {int(wrong[0])} ({len(wrong)} of {len(rows)} rows are out of range); "
                f"there are {count} training images, numbered from 0 to {count - 1}"
            )
        return rows


Sampler = Shuffle | OwnSampler


def own_sampler(found: Callable[..., object], what: str) -> OwnSampler:
    """A sampler from what was imported.

    Raises:
        ConfigError: it can't be called with three arguments.
    """
    if isinstance(found, type) or not takes(found, 3):
        raise ConfigError(f"{what} can't be called with three arguments as a function; {_CONTRACT}")
    return OwnSampler(found, what)  # type: ignore[arg-type]
