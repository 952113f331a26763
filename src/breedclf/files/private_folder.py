"""Folders that only this user can access, so that files below them need no special mode."""

from __future__ import annotations

from pathlib import Path


def make_private(folder: Path) -> None:
    """Create a folder with mode 0700; an existing folder keeps its mode, since it may be shared on purpose.

    Raises:
        OSError: it can't be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
