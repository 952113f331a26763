"""Folders that are reused only if they are unchanged: a file in them holds their key and the sha256 of each file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

SEAL_FILE = "seal.json"


def seal(folder: Path, key: str) -> None:
    """Record the contents of a folder, after everything else was written.

    Raises:
        OSError: it can't be written.
    """
    (folder / SEAL_FILE).write_text(json.dumps(_contents(folder, key)) + "\n", encoding="utf-8")


def is_as_sealed(folder: Path, key: str) -> bool:
    """Whether the folder was sealed with this key and all of its files are unchanged."""
    try:
        found = json.loads((folder / SEAL_FILE).read_bytes())
        return bool(found == _contents(folder, key))
    except (OSError, ValueError, RecursionError):
        return False


def _contents(folder: Path, key: str) -> dict[str, object]:
    return {"key": key, "sha256": {path.name: _sha256(path) for path in folder.iterdir() if path.name != SEAL_FILE}}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
