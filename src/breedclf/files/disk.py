"""Files written whole or not at all, and what a disk that refuses is told as."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from breedclf.errors import DiskError

_REASONS = {
    errno.ENOSPC: "the disk is full, or has no more inodes",
    errno.EDQUOT: "your quota on this disk is used up",
    errno.EFBIG: "it would exceed the largest file size that is allowed here (ulimit -f)",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk reports an input/output error",
}


@contextlib.contextmanager
def writing(path: Path, remedy: str = "make room, then repeat the command") -> Iterator[None]:
    """Within it a write to `path` that the system refuses becomes one clear error.

    Raises:
        DiskError: the disk refuses, for whatever reason.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path} can't be written: {refusal(error)}; {remedy}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file as a whole: a reader sees the old text or the new one, also after a crash or on a full disk.

    Raises:
        OSError: it can't be written; nothing is left behind, and the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def deliver(path: Path, text: str, remedy: str = "make room, or choose another place") -> None:
    """Write a file that was asked for, whole, and the folders that lead to it.

    Raises:
        DiskError: the disk refuses; a file that was there before stays.
    """
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def is_refusal(error: OSError) -> bool:
    """Whether the disk, not the path, is what stands in the way."""
    return error.errno in _REASONS


def refusal(error: OSError) -> str:
    """Why the system refused, in words."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
