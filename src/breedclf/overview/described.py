"""What views of jobs and of endpoints have in common: a backend's description of a thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


class Description(Protocol):
    """A snapshot of a thing that a backend runs."""

    @property
    def name(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def details(self) -> Mapping[str, Any]: ...


D = TypeVar("D", bound=Description)


@dataclass(frozen=True)
class Described(Generic[D]):
    """A view of a description."""

    description: D

    @property
    def name(self) -> str:
        """The name on its backend."""
        return self.description.name

    @property
    def is_damaged(self) -> bool:
        """Whether its state can't be read."""
        return bool(self.description.details.get("damaged"))

    @property
    def status(self) -> str:
        """The status in SageMaker's words, or "Damaged"."""
        return "Damaged" if self.is_damaged else str(self.description.status)
