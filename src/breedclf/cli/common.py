"""What several commands need: the options that all of them take, and tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

_OPTIONS = {
    "--json": "print one JSON document on stdout",
    "--quiet": "no progress on stderr",
    "--debug": "show the traceback of an error",
}


def add_common_options(parser: argparse.ArgumentParser, *, default: object = argparse.SUPPRESS) -> None:
    """Add them; behind an action's name, where they are absent, what stood before the name holds."""
    common = parser.add_argument_group("common options")
    for flag, text in _OPTIONS.items():
        common.add_argument(flag, action="store_true", default=default, help=text)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with aligned columns, the first one with their names."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def moment(seconds: float) -> str:
    """A time in UTC, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
