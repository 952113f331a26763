"""Atomic writes, and readable errors for a disk that refuses them."""

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
    """Turn an `OSError` raised while `path` is written into a `DiskError` with a remedy.

    Raises:
        DiskError: the system refuses the write, for whatever reason.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path} can't be written: {refusal(error)}; {remedy}") from error


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; the file written there replaces `path` at the end of the block.

    If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to replace or create; its folder must exist.
        sync: also flush the file and its folder to the disk, so that the new content survives a power failure.

    Raises:
        OSError: the file can't be written or replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        if sync:
            sync_file(temporary)
        temporary.replace(path)
        if sync:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomic(path: Path, content: str | bytes, *, sync: bool = False, mode: int = 0o666) -> None:
    """Write a file atomically: readers see the old content or the new one, also after a crash or on a full disk.

    Args:
        path: the file to replace or create; its folder must exist.
        content: text, written as UTF-8, or bytes.
        sync: also flush the file to the disk before it replaces the old one.
        mode: permissions of the file before the umask; 0o600 for secrets.

    Raises:
        OSError: it can't be written; the old file stays and nothing else is left behind.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path, sync=sync) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def write_output(path: Path, text: str, remedy: str = "make room, or choose another folder") -> None:
    """Write a file that the user asked for, atomically, and create its parent folders.

    Raises:
        DiskError: the disk refuses; a file that was there before stays.
    """
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)


def sync_file(path: Path) -> None:
    """Flush the content of a file to the disk, so that it survives a power failure.

    Raises:
        OSError: it can't be.
    """
    _sync(path, os.O_RDWR)


def sync_folder(folder: Path) -> None:
    """Flush the names of a folder's files to the disk, so that new files survive a power failure."""
    with contextlib.suppress(OSError):  # some systems can't open a folder
        _sync(folder, os.O_RDONLY)


def is_refusal(error: OSError) -> bool:
    """Whether the error comes from the disk itself (full, read-only, broken) rather than from the path."""
    return error.errno in _REASONS


def refusal(error: OSError) -> str:
    """The reason of an `OSError` in words."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
