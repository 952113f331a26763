"""JSON files whose contents are parsed once until they change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from breedclf.files.file_stat import FileStat

T = TypeVar("T")
MAX_BYTES = 64 << 20


@dataclass
class ParsedFiles(Generic[T]):
    """Parses JSON objects; a file that is missing, damaged or too large is None."""

    parse: Callable[[Path, dict[str, Any]], T | None]
    most: int = 200
    _known: dict[Path, tuple[FileStat, T | None]] = field(default_factory=dict)

    def of(self, file: Path) -> T | None:
        """What is in the file now."""
        try:
            status = file.stat()
        except OSError:
            self._known.pop(file, None)
            return None
        state = FileStat.of(status)
        known = self._known.get(file)
        if known is None or known[0] != state:
            while len(self._known) >= self.most:
                del self._known[next(iter(self._known))]
            known = self._known[file] = (state, self._parsed(file, status))
        return known[1]

    def _parsed(self, file: Path, status: os.stat_result) -> T | None:
        values = read_object(file) if status.st_size <= MAX_BYTES else None
        try:
            return None if values is None else self.parse(file, values)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def read_object(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none, or it is damaged or too large."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
