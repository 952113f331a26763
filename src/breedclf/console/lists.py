"""The lists of `/api/NAME` as JSON: the same documents as the command line's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from breedclf.errors import JobError
from breedclf.overview.looks import Look
from breedclf.overview.overview import Overview


class _Listed(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Iterable[_Listed])


def _documents(look: Look[T]) -> Iterable[dict[str, Any]]:
    return (each.to_dict() for each in look.found(JobError))


LISTS: dict[str, Callable[[Overview], Iterable[dict[str, Any]]]] = {
    "jobs": lambda overview: _documents(overview.jobs()),
    "tunings": lambda overview: _documents(overview.searches()),
    "endpoints": lambda overview: _documents(overview.endpoints()),
    "models": lambda overview: _documents(overview.models()),
    "datasets": lambda overview: _documents(overview.datasets()),
}
