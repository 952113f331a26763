"""What a page consists of: fragments, links to other pages, and actions with the commands that do the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode

from markupsafe import Markup

from breedclf.overview.overview import Overview

Parameters = Mapping[str, str]
TAB = ":tab"
"""The name under which open pages are sent the title of their tab; no fragment is called so."""


@dataclass(frozen=True)
class Fragment:
    """A part of a page that is replaced when it changes; `name` is its id."""

    name: str
    html: Markup


@dataclass(frozen=True)
class Content:
    """A page: its title, one line about it, and its fragments from top to bottom.

    `state` says in a word or two how things are, such as "Training 45%": it comes first in the browser's tab.
    """

    title: str
    fragments: Sequence[Fragment]
    subtitle: Markup | str = ""
    state: str = ""

    @property
    def tab(self) -> str:
        """The title in the browser's tab."""
        return " · ".join(part for part in (self.state, self.title, "breedclf") if part)


@dataclass(frozen=True)
class Action:
    """Something that a button does.

    `name` is one of `breedclf.console.actions.ACTIONS`, `fields` are its inputs, and `command` does the same on the
    command line. A dangerous action asks `question` first.
    """

    name: str
    label: str
    fields: Mapping[str, str]
    command: Sequence[str]
    question: str = ""

    @property
    def command_line(self) -> str:
        """The command as a shell reads it."""
        return shlex.join(self.command)


class Links(Protocol):
    """Where pages are: on the server, or in a folder of static pages."""

    @property
    def is_live(self) -> bool:
        """Whether pages are updated, and actions can be done."""

    @property
    def may_act(self) -> bool:
        """Whether buttons are shown."""

    def to(self, path: str, **parameters: str | int) -> str:
        """The address of a page, given its path, such as `/jobs/dogs`."""


@dataclass(frozen=True)
class ServerLinks:
    """Addresses on the server; `backend` is part of each unless it is the first one."""

    backend: str = ""
    read_only: bool = False
    is_live: bool = field(default=True, init=False)

    @property
    def may_act(self) -> bool:
        return not self.read_only

    def to(self, path: str, **parameters: str | int) -> str:
        given = {name: str(value) for name, value in parameters.items() if value not in ("", 0)}
        if self.backend:
            given["backend"] = self.backend
        return quote(path) + (f"?{urlencode(given)}" if given else "")


class Page(Protocol):
    """A kind of page. `path` may have parameters, as in `/jobs/{name}`; `label` is its entry in the navigation."""

    @property
    def path(self) -> str: ...

    @property
    def label(self) -> str: ...

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        """The page as it is now.

        Args:
            overview: what there is.
            parameters: those of the path and of the query.
            links: where other pages are.

        Raises:
            BreedclfError: there is no such thing.
        """

    def all(self, overview: Overview) -> Sequence[Parameters]:
        """The parameters of each page of this kind, for an export."""
