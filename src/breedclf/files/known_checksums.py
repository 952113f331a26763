"""Large files that were checked once: their sha256 is remembered, and computed again only when they change."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from breedclf.files.cache_folder import cache_folder
from breedclf.files.disk import write_whole
from breedclf.files.file_stat import FileStat

log: logging.Logger = logging.getLogger(__name__)

_FOLDER = "known-files"


def sha256_of(path: Path) -> str:
    """The sha256 of a file; remembered, in the folder of the caches, for as long as its stamp stays the same.

    Raises:
        OSError: it can't be read.
    """
    stamp = list(FileStat.of(path.stat()))
    memory = memory_of(path)
    known = _remembered(memory)
    if known.get("stamp") == stamp and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps({"stamp": stamp, "sha256": found}))
    except OSError as error:
        log.debug("the hash of %s can't be remembered: %s", path, error)
    return found


def memory_of(path: Path) -> Path:
    """The file in which the hash of that one is kept."""
    return cache_folder() / _FOLDER / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"


def _remembered(memory: Path) -> dict[str, object]:
    try:
        found = json.loads(memory.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
