"""The blocks a report is made of, as HTML: headline tiles, facts, callouts, tables, images."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from breedclf.reporting.page import as_block, environment

Tone = Literal["ok", "issue", "bad", "info", "muted"]


@dataclass(frozen=True)
class Tile:
    """One headline figure: its name, its value as shown, and a few words on it."""

    name: str
    value: str
    note: str = ""
    tone: Tone | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers stand to the right and go through `format`."""

    name: str
    numeric: bool = False
    format: Callable[[Any], str] = str


@dataclass(frozen=True)
class Picture:
    """A small JPEG and the lines below it; `alt` says what it shows to those who can't see it."""

    jpeg: bytes
    alt: str
    lines: Sequence[str] = ()

    @property
    def jpeg_base64(self) -> str:
        return base64.b64encode(self.jpeg).decode("ascii")


def tiles(items: Iterable[Tile]) -> Markup:
    """Headline figures in a row that wraps."""
    return _block("tiles", list(items))


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names and values, one pair a line."""
    return _block("facts", list(pairs))


def callout(tone: Tone, heading: str, *body: Markup | str) -> Markup:
    """A sentence that must not be missed, with its tone spelled out as a word (never by color alone)."""
    return _block("callout", tone, heading, Markup("\n").join(as_block(part) for part in body))


def table(
    caption: str, columns: Sequence[Column | str], rows: Iterable[Sequence[object]], *, empty: str = "None."
) -> Markup:
    """A table; a cell may be `Markup`, None stands as a dash, and without rows it says `empty`.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    body = [[(_cell(value, head), head) for value, head in zip(row, heads, strict=True)] for row in rows]
    return _block("table", caption, heads, body, empty)


def details(summary: str, *body: Markup | str) -> Markup:
    """Blocks behind a line that opens them."""
    return _block("details", summary, [as_block(part) for part in body])


def pictures(items: Iterable[Picture]) -> Markup:
    """Small images side by side, held in the page itself."""
    return _block("pictures", list(items))


def bullets(items: Iterable[Markup | str]) -> Markup:
    """A plain list."""
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(item) for item in items))


def _cell(value: object, column: Column) -> Markup | str:
    if value is None:
        return "–"
    return value if isinstance(value, Markup) else column.format(value)


def _block(macro: str, *values: object) -> Markup:
    module = environment().get_template("blocks.html.j2").module
    return Markup(getattr(module, macro)(*values))
