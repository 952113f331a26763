"""The folder of all caches."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from breedclf.files.paths import text_path

CACHE_DIR_VARIABLE = "BREEDCLF_CACHE_DIR"


def cache_folder(folder: Path | None = None) -> Path:
    """`folder` if it is given, else the one set by `BREEDCLF_CACHE_DIR`, else the platform's cache folder.

    Raises:
        ConfigError: the folder's name is empty or isn't UTF-8.
    """
    if folder is not None:
        return text_path(folder, "cache_dir")
    from_environment = os.environ.get(CACHE_DIR_VARIABLE)
    return (
        text_path(from_environment, CACHE_DIR_VARIABLE)
        if from_environment
        else platformdirs.user_cache_path("breedclf")
    )
