"""Reads files, plain or compressed; unreadable ones are noted and skipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from breedclf.profiling.readers.builder import Recorded

MAX_FILE_BYTES = 2_000_000_000


def read_text(path: Path, recorded: Recorded) -> str:
    """The file's text; empty, with a note, if it can't be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            recorded.note(f"{path.name} is larger than {MAX_FILE_BYTES / 1e9:.0f} GB and was skipped")
            return ""
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.suffix == ".gz" else content
        return plain.decode("utf-8", errors="replace").removeprefix("\ufeff")
    except (OSError, EOFError, zlib.error) as error:
        recorded.note(f"{path.name} can't be read: {error}")
        return ""
