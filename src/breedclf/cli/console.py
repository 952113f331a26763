"""Where a command's words go: results to stdout (one JSON document with --json), everything else to stderr."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Console:
    """A command's output: `result` is what was asked for, `note` and `error` are for the person watching."""

    json: bool = False
    quiet: bool = False

    def result(self, document: Any, text: str) -> None:
        """Print the outcome: as JSON when asked, otherwise as text."""
        print(jsonlib.dumps(document, indent=2, allow_nan=False) if self.json else text, flush=True)

    def note(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        print(f"breedclf: {text}", file=sys.stderr, flush=True)
