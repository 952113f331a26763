"""Where a command's words go: results to stdout (one JSON document with --json), everything else to stderr."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from breedclf.plain_json import plain_json


@dataclass(frozen=True)
class Console:
    """A command's output: `result` is what was asked for, `note` and `error` are for the person watching."""

    json: bool = False
    quiet: bool = False

    def result(self, document: Any, text: str) -> None:
        """Print the outcome: as JSON when asked, in which NaN is null, otherwise as text."""
        print(plain_json(document, indent=2) if self.json else text, flush=True)

    def note(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        print(f"breedclf: {text}", file=sys.stderr, flush=True)
