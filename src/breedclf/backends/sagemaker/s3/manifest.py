"""Manifests: the files of a folder with their sizes and MD5s, to compare and to store with an upload."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from breedclf.errors import DataError

MANIFEST_NAME = "breedclf-manifest.json"  # neither an image nor a folder, so training ignores it
MANIFEST_VERSION = 1
_READ_BYTES = 1 << 20
_THREADS = 8


@dataclass(frozen=True)
class FileEntry:
    """A file's size and MD5, and its ETag in S3 if that isn't the MD5."""

    size_bytes: int
    md5: str
    etag: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Files by their paths relative to the folder, with / as separator.

    Example:
        >>> Manifest({"cat/1.jpg": FileEntry(2, "9e107d9d372bb6826bd81d3542a419d6")}).fingerprint[:8]
        '01dfeda4'
    """

    files: Mapping[str, FileEntry]

    @property
    def size_bytes(self) -> int:
        """Total size of all files."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def fingerprint(self) -> str:
        """A hash of names and contents: equal folders have equal fingerprints."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name}\0{self.files[name].md5}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> bytes:
        """The manifest as it is stored with the files."""
        files = {
            name: {"bytes": entry.size_bytes, "md5": entry.md5} | ({"etag": entry.etag} if entry.etag else {})
            for name, entry in sorted(self.files.items())
        }
        document = {"version": MANIFEST_VERSION, "fingerprint": self.fingerprint, "files": files}
        return json.dumps(document, indent=0).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self | None:
        """Parse the result of `to_json`; None if it is anything else."""
        try:
            document = json.loads(text)
            if document["version"] != MANIFEST_VERSION:
                return None
            return cls(
                {
                    name: FileEntry(int(each["bytes"]), str(each["md5"]), each.get("etag"))
                    for name, each in document["files"].items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def ignore_nothing(_path: str) -> bool:
    """The default filter: no file is ignored."""
    return False


def files_below(folder: Path, ignored: Callable[[str], bool] = ignore_nothing) -> dict[str, Path]:
    """The files to upload by relative path, without hidden ones; links are followed, each folder once.

    `ignored` says whether a relative path of a folder or file is left out.

    Raises:
        DataError: the folder doesn't exist, or S3 can't represent a name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    visited: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        below = os.path.relpath(here, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not ignored(prefix + name))
        for name in names:
            path, key = Path(here, name), prefix + name
            if name.startswith(".") or key == MANIFEST_NAME or ignored(key) or not path.is_file():
                continue
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"{key!r} below {folder} is not valid UTF-8, which S3 requires; rename it") from error
            found[key] = path
    return dict(sorted(found.items()))


def read_manifest(folder: Path, ignored: Callable[[str], bool] = ignore_nothing) -> Manifest:
    """The manifest of a folder; reads every file that `files_below` finds.

    Raises:
        DataError: the folder or a file can't be read.
    """
    files = files_below(folder, ignored)
    with ThreadPoolExecutor(_THREADS) as pool:
        return Manifest(dict(zip(files, pool.map(read_entry, files.values()), strict=True)))


def read_entry(path: Path) -> FileEntry:
    """The size and MD5 of a file.

    Raises:
        DataError: it can't be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(size, digest.hexdigest())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        DataError: it can't be read.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                yield chunk
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
