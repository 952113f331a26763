"""The cache of the dataset check: results per file, so that unchanged files are not read again.

A file counts as unchanged if its size, times and inode are the same. Comparing these takes microseconds, decoding an
image milliseconds. A change that leaves all of them alone, such as a failing disk may cause, goes unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import PIL

from breedclf.data.images import MAX_FILE_BYTES, MAX_PIXELS, ImageFacts
from breedclf.data_check.inspection import Inspection
from breedclf.data_check.listing import Candidate
from breedclf.files.disk import write_atomic
from breedclf.files.file_stat import FileStat
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

CACHE_NAME = "data-check"
"""The folder of this cache below the cache folder."""

MAX_FOLDERS = 64
"""Results are cached for this many checked folders; the ones that were checked longest ago are dropped."""

_FORMAT = [3, PIL.__version__, MAX_PIXELS, MAX_FILE_BYTES]

CachedInspections = dict[str, tuple[FileStat, Inspection]]


def load_inspections(cache: Path, root: Path) -> CachedInspections:
    """The cached results for a folder, by path below it; none if the cache file is damaged or outdated."""
    try:
        document = json.loads(_file(cache, root).read_bytes())
        if document["format"] != _FORMAT or document["root"] != _name(root):
            return {}
        return {row[0]: (FileStat(*row[1]), _inspection(row[2])) for row in document["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        log.debug("the cached dataset check of %s can't be used: %s", root, error)
        return {}


def save_inspections(cache: Path, root: Path, inspections: Mapping[Candidate, Inspection]) -> None:
    """Cache the results for a folder; if they can't be written, a warning is logged and the next check starts over."""
    files = [
        [image.path, list(image.file_stat), list(astuple(found))]
        for image, found in inspections.items()
        if found.lasting
    ]
    text = json.dumps({"format": _FORMAT, "root": _name(root), "files": files}, separators=(",", ":"))
    file = _file(cache, root)
    try:
        make_private(file.parent.parent)
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, text)
        _drop_the_oldest(file.parent)
    except OSError as error:
        log.warning("the results of the dataset check can't be cached at %s (%s)", file.parent, error)


def _drop_the_oldest(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first[MAX_FOLDERS:]:
        file.unlink(missing_ok=True)


def _inspection(row: list[Any]) -> Inspection:
    fault, detail, facts, *rest = row
    image_facts = ImageFacts(*facts) if facts else None
    if image_facts is not None:  # JSON has no tuples
        image_facts = replace(image_facts, flaws=tuple((kind, what) for kind, what in image_facts.flaws))
    return Inspection(fault, detail, image_facts, *rest)


def _name(root: Path) -> str:
    return os.fspath(root.resolve())


def _file(cache: Path, root: Path) -> Path:
    digest = hashlib.blake2b(os.fsencode(_name(root)), digest_size=16).hexdigest()
    return cache / CACHE_NAME / f"{digest}.json"
