"""The folder that gets what a command writes, made and tried before the work begins."""

from __future__ import annotations

import tempfile
from pathlib import Path

from breedclf.errors import ConfigError


def writable(folder: Path) -> Path:
    """Make the folder and try to write into it.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"output={str(folder)!r} can't be written: {error.strerror}; choose another --output"
        ) from error
    return folder
