"""Read JSON lines files, whose last line may be incomplete after a process was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json_lines(path: Path) -> Iterator[Any]:
    """The value of each complete line; an incomplete line, even one cut within a character, is skipped.

    Only a newline ends a line: `str.splitlines` would also split at other characters that text may contain.

    Raises:
        OSError: the file can't be read; a missing file has no lines.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue
