"""Where a command's words go: results to stdout (one JSON document with --json), everything else to stderr.

What is printed can't control the terminal, whatever a class or a file is called, and no encoding ends a command.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from breedclf.text.plain_json import plain_json
from breedclf.text.printable import visible


@dataclass(frozen=True)
class Terminal:
    """A command's output: `result` is what was asked for, `note` and `error` are for the person watching."""

    json: bool = False
    quiet: bool = False

    def result(self, document: Any, text: str) -> None:
        """Print the outcome: as JSON (ASCII alone, NaN as null) when asked, otherwise as text."""
        if self.json:
            text = plain_json(document, indent=2)
        print(visible(text), flush=True)

    def line(self, text: str) -> None:
        """Print a line of a log: as it is where a program reads it, on a terminal only what can't control that."""
        if sys.stdout.isatty():
            text = visible(text.rstrip("\r").rpartition("\r")[2])  # of a progress bar the last state
        print(text, flush=True)

    def note(self, text: str) -> None:
        if not self.quiet:
            print(visible(text), file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        print(f"breedclf: {visible(text)}", file=sys.stderr, flush=True)
