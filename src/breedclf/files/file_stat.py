"""A file's stat values, to detect changes without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple, Self

from breedclf.files.paths import StrPath


class FileStat(NamedTuple):
    """A file's size, times and inode; ctime reveals a change even if mtime was set back."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The values of an `os.stat` result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @classmethod
    def at(cls, path: StrPath) -> Self | None:
        """The values of the file at a path now; None if there is none."""
        try:
            return cls.of(os.stat(path))  # noqa: PTH116 - a Path for each of 10,000 files takes as long as the call
        except OSError:
            return None
