"""HTML building blocks of reports: headline tiles, facts, callouts, tables, images."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from breedclf.reporting.page import as_block, environment

Tone = Literal["ok", "issue", "bad", "info"]


@dataclass(frozen=True)
class Tile:
    """One headline figure: its name, its formatted value, and a short note."""

    name: str
    value: str
    note: str = ""
    tone: Tone | None = None


@dataclass(frozen=True)
class Column:
    """A table column; numbers are right-aligned and formatted with `format`."""

    name: str
    numeric: bool = False
    format: Callable[[Any], str] = str


@dataclass(frozen=True)
class GalleryImage:
    """A small JPEG with caption lines; `alt` is its text alternative."""

    jpeg: bytes
    alt: str
    lines: Sequence[str] = ()

    @property
    def jpeg_base64(self) -> str:
        return base64.b64encode(self.jpeg).decode("ascii")


def tiles(items: Iterable[Tile]) -> Markup:
    """Headline figures in a wrapping row."""
    return block("tiles", list(items))


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """A list of names and values, one pair per line."""
    return block("facts", list(pairs))


def callout(tone: Tone, heading: str, *body: Markup | str) -> Markup:
    """A highlighted message; its tone is also given as a word, not by color alone."""
    return block("callout", tone, heading, Markup("\n").join(as_block(part) for part in body))


def table(
    caption: str, columns: Sequence[Column | str], rows: Iterable[Sequence[object]], *, empty: str = "None."
) -> Markup:
    """A table; cells may be `Markup`, None is shown as a dash, and `empty` is shown if there are no rows.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    body = [[(_cell(value, head), head) for value, head in zip(row, heads, strict=True)] for row in rows]
    return block("table", caption, heads, body, empty)


def details(summary: str, *body: Markup | str) -> Markup:
    """Collapsed blocks with a summary line that expands them."""
    return block("details", summary, [as_block(part) for part in body])


def gallery(items: Iterable[GalleryImage], *, per_row: int | None = None) -> Markup:
    """Small images side by side, embedded in the HTML; `per_row`, 3, keeps as many together in a row."""
    return block("gallery", list(items), per_row)


def bullets(items: Iterable[Markup | str]) -> Markup:
    """A bulleted list."""
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(item) for item in items))


def _cell(value: object, column: Column) -> Markup | str:
    if value is None:
        return "–"
    return value if isinstance(value, Markup) else column.format(value)


def block(macro: str, *values: object) -> Markup:
    """One of the macros of `blocks.html.j2`."""
    module = environment().get_template("blocks.html.j2").module
    return Markup(getattr(module, macro)(*values))
