"""What a journey that was killed left half-written in its folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_UNFINISHED = re.compile(r"\..+\.part|\.model-.+")
"""Names of files and folders that are renamed when they are whole: see `files.disk` and `place_model`."""


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove unfinished files and model directories below a folder; the caller is the only one that writes there.

    Returns:
        What was removed.
    """
    found = [path for path in folder.rglob(".*") if _UNFINISHED.fullmatch(path.name)]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return found
