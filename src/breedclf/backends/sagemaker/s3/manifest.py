"""What a folder holds, file by file with its size and MD5: what is compared, and what goes along with an upload."""

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

MANIFEST_NAME = "breedclf-manifest.json"  # no picture and no folder, so a training passes over it
MANIFEST_VERSION = 1
_READ_BYTES = 1 << 20
_THREADS = 8


@dataclass(frozen=True)
class FileEntry:
    """A file's size and MD5; `etag` is S3's mark of it where that isn't the MD5."""

    size_bytes: int
    md5: str
    etag: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Files by their names below the folder, with / between the parts.

    Example:
        >>> Manifest({"cat/1.jpg": FileEntry(2, "9e107d9d372bb6826bd81d3542a419d6")}).fingerprint[:8]
        '01dfeda4'
    """

    files: Mapping[str, FileEntry]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def fingerprint(self) -> str:
        """A hash of the names and contents: equal folders have equal ones, wherever they lie."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name}\0{self.files[name].md5}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> bytes:
        """The manifest as it lies beside the files."""
        files = {
            name: {"bytes": entry.size_bytes, "md5": entry.md5} | ({"etag": entry.etag} if entry.etag else {})
            for name, entry in sorted(self.files.items())
        }
        document = {"version": MANIFEST_VERSION, "fingerprint": self.fingerprint, "files": files}
        return json.dumps(document, indent=0).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self | None:
        """What `to_json` gave; None if it is something else, which is then no help and no harm."""
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


def nothing(_path: str) -> bool:
    """Tells that nothing stays behind."""
    return False


def files_below(folder: Path, unread: Callable[[str], bool] = nothing) -> dict[str, Path]:
    """The files that travel, by name: all but hidden ones; links are followed, each folder once.

    `unread` tells of a folder or file, by its name below `folder`, whether it stays behind.

    Raises:
        DataError: the folder isn't there, or a name can't be told in S3.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        below = os.path.relpath(here, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not unread(prefix + name))
        for name in names:
            path, key = Path(here, name), prefix + name
            if name.startswith(".") or key == MANIFEST_NAME or unread(key) or not path.is_file():
                continue
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{key!r} below {folder} is no valid UTF-8, so S3 can't carry the name; rename it"
                ) from error
            found[key] = path
    return dict(sorted(found.items()))


def read_manifest(folder: Path, unread: Callable[[str], bool] = nothing) -> Manifest:
    """Read every file below a folder once, as `files_below` finds them.

    Raises:
        DataError: the folder or a file can't be read.
    """
    files = files_below(folder, unread)
    with ThreadPoolExecutor(_THREADS) as pool:
        return Manifest(dict(zip(files, pool.map(read_entry, files.values()), strict=True)))


def read_entry(path: Path) -> FileEntry:
    """One file's size and MD5.

    Raises:
        DataError: it can't be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for part in _parts(path):
        digest.update(part)
        size += len(part)
    return FileEntry(size, digest.hexdigest())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        DataError: it can't be read.
    """
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                yield part
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
