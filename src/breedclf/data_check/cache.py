"""What earlier examinations found, so that a file that hasn't changed isn't read again.

A file counts as unchanged when size, times of change and inode are the same. That takes microseconds where reading
takes milliseconds; what it can't see is a change that leaves all four alone, as failing hardware may make.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import PIL

from breedclf.data.images import MAX_FILE_BYTES, MAX_PIXELS, ImageFacts
from breedclf.data_check.inspection import Look
from breedclf.data_check.listing import Candidate
from breedclf.files.file_stat import FileStat
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

MAX_FOLDERS = 64
_FORMAT = [2, PIL.__version__, MAX_PIXELS, MAX_FILE_BYTES]

Known = dict[str, tuple[FileStat, Look]]


def recall(cache: Path, root: Path) -> Known:
    """What is known of the files of a folder, by their names below it; nothing when the memory is damaged or old."""
    try:
        document = json.loads(_file(cache, root).read_bytes())
        if document["format"] != _FORMAT or document["root"] != _name(root):
            return {}
        return {row[0]: (FileStat(*row[1]), _look(row[2])) for row in document["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        log.debug("what was known of %s can't be used: %s", root, error)
        return {}


def remember(cache: Path, root: Path, looks: Mapping[Candidate, Look]) -> None:
    """Keep what was found; without a place to keep it in, the next examination reads everything again."""
    files = [[about.path, list(about.stamp), list(astuple(look))] for about, look in looks.items() if look.lasting]
    text = json.dumps({"format": _FORMAT, "root": _name(root), "files": files}, separators=(",", ":"))
    file = _file(cache, root)
    try:
        make_private(file.parent.parent)
        file.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as temporary:
            try:
                temporary.write(text.encode("ascii"))
                temporary.close()
                Path(temporary.name).replace(file)
            finally:
                Path(temporary.name).unlink(missing_ok=True)
        _drop_the_oldest(file.parent)
    except OSError as error:
        log.warning("what was found can't be kept at %s (%s)", file.parent, error)


def _drop_the_oldest(folder: Path) -> None:
    kept = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[MAX_FOLDERS:]:
        file.unlink(missing_ok=True)


def _look(row: list[Any]) -> Look:
    fault, detail, facts, *rest = row
    known = ImageFacts(*facts) if facts else None
    if known is not None:  # JSON has no tuples
        known = replace(known, flaws=tuple((kind, what) for kind, what in known.flaws))
    return Look(fault, detail, known, *rest)


def _name(root: Path) -> str:
    return os.fspath(root.resolve())


def _file(cache: Path, root: Path) -> Path:
    digest = hashlib.blake2b(os.fsencode(_name(root)), digest_size=16).hexdigest()
    return cache / "doctor" / f"{digest}.json"
