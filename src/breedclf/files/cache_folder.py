"""The one folder that everything kept between runs lies below."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from breedclf.files.paths import text_path

CACHE_DIR_VARIABLE = "BREEDCLF_CACHE_DIR"


def cache_folder(given: Path | None = None) -> Path:
    """The folder that is given, else the one that `BREEDCLF_CACHE_DIR` names, else the platform's."""
    if given is not None:
        return text_path(given, "cache_dir")
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    return text_path(chosen, CACHE_DIR_VARIABLE) if chosen else platformdirs.user_cache_path("breedclf")
