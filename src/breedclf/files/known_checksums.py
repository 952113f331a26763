"""Checksums of large files: cached, and computed again only if the file changes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from breedclf.files.cache_folder import cache_folder
from breedclf.files.disk import write_atomic
from breedclf.files.file_stat import FileStat

log: logging.Logger = logging.getLogger(__name__)

_FOLDER = "checksums"


def sha256_of(path: Path) -> str:
    """The sha256 of a file, cached below the cache folder until the file's stat values change.

    Raises:
        OSError: it can't be read.
    """
    file_stat = list(FileStat.of(path.stat()))
    cache_file = cache_file_of(path)
    cached = _read(cache_file)
    if cached.get("file_stat") == file_stat and isinstance(cached.get("sha256"), str):
        return str(cached["sha256"])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(cache_file, json.dumps({"file_stat": file_stat, "sha256": sha256}))
    except OSError as error:
        log.debug("the checksum of %s can't be cached: %s", path, error)
    return sha256


def cache_file_of(path: Path) -> Path:
    """The file in which the checksum of `path` is cached."""
    return cache_folder() / _FOLDER / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"


def _read(cache_file: Path) -> dict[str, object]:
    try:
        found = json.loads(cache_file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
