"""The one folder that everything kept between runs lies below."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_DIR_VARIABLE = "BREEDCLF_CACHE_DIR"


def cache_folder(given: Path | None = None) -> Path:
    """The folder that is given, else the one that `BREEDCLF_CACHE_DIR` names, else the platform's."""
    return Path(given or os.environ.get(CACHE_DIR_VARIABLE) or platformdirs.user_cache_path("breedclf"))
