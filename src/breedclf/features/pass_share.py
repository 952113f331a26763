"""What a pass over images needs of the processes that share it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")


def ignore(_done: int) -> None:
    """The default of callbacks that receive the number of images done."""


class Together(Protocol):
    """Work that all processes do at the same time: an error in one of them ends it in all."""

    def advance(self, images: int) -> int:
        """Report that this process has done some more images; returns the number that all processes have done.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
        """
        ...

    def meet(self, on_advance: Callable[[int], None] = ignore) -> None:
        """Wait until all processes are here, however long that takes.

        `on_advance` is called when more images are done, with the number that all processes have done.

        Raises:
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
        """
        ...


class PassShare(Protocol):
    """The processes that share a pass; all of them call the same methods in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def count(self) -> int:
        """How many processes there are."""
        ...

    def from_first(self, value: T) -> T:
        """The first process's value."""
        ...

    def from_all(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        ...

    def lowest(self, values: torch.Tensor) -> torch.Tensor:
        """The minimum over all processes, for each element of an integer tensor."""
        ...

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, for each element."""
        ...

    def together(self) -> AbstractContextManager[Together]:
        """Within it an error of one process is raised in all of them; they wait for each other at its end."""
        ...


@dataclass
class _AloneTogether:
    done: int = 0

    def advance(self, images: int) -> int:
        self.done += images
        return self.done

    def meet(self, on_advance: Callable[[int], None] = ignore) -> None:
        pass


@dataclass(frozen=True)
class OneProcess:
    """A process that shares its pass with no other."""

    rank: int = 0
    count: int = 1

    def from_first(self, value: T) -> T:
        return value

    def from_all(self, value: T) -> list[T]:
        return [value]

    def lowest(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def together(self) -> AbstractContextManager[Together]:
        return nullcontext(_AloneTogether())


ALONE = OneProcess()
