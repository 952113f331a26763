"""The options that every command and every action of one takes."""

from __future__ import annotations

import argparse

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
