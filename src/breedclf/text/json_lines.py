"""Files with a JSON value a line, as they are found: the last line may have been cut when a process was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json_lines(path: Path) -> Iterator[Any]:
    """The value of each whole line; a line that was cut, even within a character, is left out.

    Only a newline ends a line: text may hold other characters that `str.splitlines` takes for ends.

    Raises:
        OSError: the file can't be read; one that isn't there holds no lines.
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
