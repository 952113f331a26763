"""What lists have in common: views of a backend's things, the choice of some of them, and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
T = TypeVar("T")


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


class Listed(Protocol):
    """A thing in a list that can be chosen by its status."""

    @property
    def status(self) -> str: ...


L = TypeVar("L", bound=Listed)


@dataclass(frozen=True)
class Choice:
    """Which things of a list are wanted: words that describe them, a status, and a page of `size`, from 1."""

    words: str = ""
    status: str = ""
    page: int = 1
    size: int = 50


@dataclass(frozen=True)
class Paged(Generic[T]):
    """A page of a list: its things, the page's number from 1, and how many pages there are."""

    shown: Sequence[T]
    page: int
    pages: int


@dataclass(frozen=True)
class Chosen(Paged[L]):
    """A page of the things that match: how many those are, and how many of each status before that was chosen."""

    count: int
    statuses: dict[str, int]


def paged(things: Sequence[T], page: int, size: int) -> Paged[T]:
    """The page with this number, or the nearest there is.

    Example:
        >>> paged("abcde", page=9, size=2)
        Paged(shown='e', page=3, pages=3)
    """
    pages = max(1, -(-len(things) // size))
    number = min(max(1, page), pages)
    return Paged(things[(number - 1) * size : number * size], number, pages)


def chosen(things: Sequence[L], choice: Choice, has: Callable[[L, str], bool]) -> Chosen[L]:
    """The page of the things that match, the last first; `has` says whether a word, in lower case, describes one."""
    words = choice.words.casefold().split()
    matching = [each for each in reversed(things) if all(has(each, word) for word in words)]
    statuses = dict(sorted(Counter(each.status for each in matching).items()))
    found = [each for each in matching if choice.status.casefold() in ("", each.status.casefold())]
    page = paged(found, choice.page, choice.size)
    return Chosen(page.shown, page.page, page.pages, len(found), statuses)
