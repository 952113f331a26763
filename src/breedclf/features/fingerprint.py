"""A fingerprint of image files: equal for equal contents in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from breedclf.runtime.device import available_cores

_FILES_AT_A_TIME = 1024


def fingerprint_of(paths: Sequence[Path]) -> str:
    """A hash of the files' bytes in their order, as 32 hexadecimal digits; their names and folders don't count.

    Example:
        >>> fingerprint_of([])
        'cae66941d9efbd404e4d88758ea67670'
    """
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for start in range(0, len(paths), _FILES_AT_A_TIME):
            for one in pool.map(_digest_file, paths[start : start + _FILES_AT_A_TIME]):
                digest.update(one)
    return digest.hexdigest()


def _digest_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _digester).digest()
    except OSError:
        # Decoding reports or skips an unreadable file; here it only has to count as itself.
        return f"unreadable {path.name}".encode(errors="surrogateescape")


def _digester() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
