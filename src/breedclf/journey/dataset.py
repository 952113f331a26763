"""Whether a dataset changed since, and how many of its files: their names, sizes and modification times."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from breedclf.files.disk import write_atomic, writing
from breedclf.text.plain_json import plain_json

FILE_NAME = ".dataset.json"


@dataclass(frozen=True)
class FileList:
    """The files of a dataset by relative path, each with its size in bytes and its time of modification.

    Example:
        >>> before, after = FileList({"a.jpg": "10 1", "b.jpg": "20 1"}), FileList({"a.jpg": "10 2", "c.jpg": "30 1"})
        >>> before.difference(after)
        '1 changed, 1 new and 1 missing files'
    """

    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Equal lists have equal digests; empty if there are no files."""
        if not self.files:
            return ""
        total = hashlib.sha256()
        for name, stat in sorted(self.files.items()):
            total.update(f"{name}\0{stat}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()[:16]

    def difference(self, after: FileList) -> str:
        """How many files differ, in words."""
        if not self.files:
            return "files"
        counts = {
            "changed": sum(after.files.get(name, stat) != stat for name, stat in self.files.items()),
            "new": len(after.files.keys() - self.files.keys()),
            "missing": len(self.files.keys() - after.files.keys()),
        }
        parts = [f"{count:,} {what}" for what, count in counts.items() if count]
        one = sum(counts.values()) == 1
        return f"{', '.join(parts[:-1])}{' and ' if len(parts) > 1 else ''}{parts[-1]} file{'' if one else 's'}"

    def save(self, folder: Path) -> None:
        """Write the list into a journey's folder.

        Raises:
            DiskError: it can't be written.
        """
        path = folder / FILE_NAME
        with writing(path):
            write_atomic(path, plain_json(dict(self.files)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The list in a journey's folder; an empty one if there is none."""
        try:
            return cls(json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return cls()


def dataset_files(data: Path) -> FileList:
    """The files below a folder, or one file; symbolic links are followed. Empty if it isn't on this machine."""
    if not data.exists():
        return FileList()
    return FileList(dict(_walk(str(data))) if data.is_dir() else {data.name: _stat(str(data))})


def _walk(folder: str) -> list[tuple[str, str]]:
    found = []
    for root, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118 - of 20,000 files
            if os.path.exists(path):  # noqa: PTH110 - a link may be broken
                found.append((os.path.relpath(path, folder), _stat(path)))
    return found


def _stat(path: str) -> str:
    stat = os.stat(path)  # noqa: PTH116
    return f"{stat.st_size} {stat.st_mtime_ns}"
