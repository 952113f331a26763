"""What tells that a file is still the same without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple, Self


class FileStat(NamedTuple):
    """A file's size, times and place; the time of its last change of status tells even where its own was set back."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
