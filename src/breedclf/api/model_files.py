"""A model directory put in place whole, sharing disk space with where it came from if possible."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def place_model(artifact: Path, target: Path) -> Path:
    """Put the model's files at `target`, replacing a model that was there."""
    fresh = target.with_name(f".{target.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(artifact, fresh, copy_function=_link_or_copy)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
