"""Unpack untrusted archives: only regular files, only below the target folder, with limits of files and bytes."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from breedclf.errors import DataError

MAX_FILES = 200_000
MAX_BYTES = 8 << 30
_CHUNK_BYTES = 1 << 18


@dataclass
class _Budget:
    """Counts the files and bytes that were written, and enforces the limits."""

    archive: Path
    max_files: int
    max_bytes: int
    files: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    def another_file(self) -> None:
        self.files += 1
        if self.files > self.max_files:
            raise DataError(f"{self.archive} holds more than {self.max_files:,} files; unpacking is stopped")

    def more_bytes(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise DataError(f"{self.archive} unpacks to more than {self.max_bytes:,} bytes; unpacking is stopped")


def unpack(
    archive: Path,
    into: Path,
    *,
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
    on_files: Callable[[int], object] = bool,
) -> int:
    """Unpack a zip or tar archive, compressed or not, and return the number of files.

    Files that macOS adds to archives are left out.

    Args:
        archive: the file to unpack.
        into: the target folder; it is created.
        max_files: the largest number of files.
        max_bytes: the largest total size of the files.
        on_files: called with the number of new files after each file.

    Raises:
        DataError: it is damaged, encrypted or not an archive, exceeds a limit, or contains links, devices or names that
            point outside of the folder.
    """
    budget = _Budget(archive, max_files, max_bytes)
    into.mkdir(parents=True, exist_ok=True)
    with _errors_translated(archive):
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, into, budget, on_files)
        else:
            _unpack_tar(archive, into, budget, on_files)
    return budget.files


def _unpack_zip(archive: Path, into: Path, budget: _Budget, on_files: Callable[[int], object]) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            target = _target(archive, member.orig_filename, into)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise DataError(f"{archive} contains a link or device, {member.filename!r}; it is not unpacked")
            if member.is_dir() or _is_junk(target):
                continue
            with opened.open(member) as content:
                _write(content, target, budget)
            on_files(1)


def _unpack_tar(archive: Path, into: Path, budget: _Budget, on_files: Callable[[int], object]) -> None:
    safe = getattr(tarfile, "data_filter", None)  # new in Python 3.11.4; the checks here are at least as strict
    with tarfile.open(archive) as opened:
        for member in opened:
            target = _target(archive, member.name, into)
            if not (member.isreg() or member.isdir()):
                raise DataError(f"{archive} contains a link or device, {member.name!r}; it is not unpacked")
            if safe is not None:
                safe(member, str(into))
            content = opened.extractfile(member)
            if content is None or _is_junk(target):
                continue
            with content:
                _write(content, target, budget)
            on_files(1)
        while opened.fileobj and (rest := opened.fileobj.read(_CHUNK_BYTES)):  # the checksum is at the end
            budget.more_bytes(len(rest))


def _write(content: IO[bytes], target: Path, budget: _Budget) -> None:
    budget.another_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            budget.more_bytes(len(chunk))
            file.write(chunk)


def _target(archive: Path, name: str, into: Path) -> Path:
    """The target of a member; its name must not leave `into` on any system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
        raise DataError(f"{archive} contains {name!r}, a name that may point outside of the folder; it is not unpacked")
    return into.joinpath(*path.parts)


def _is_junk(target: Path) -> bool:
    return "__MACOSX" in target.parts or target.name.startswith("._") or target.name == ".DS_Store"


@contextmanager
def _errors_translated(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is damaged or not an archive ({error}); delete it and try again") from error
    except RuntimeError as error:  # raised by zipfile for an encrypted member
        raise DataError(f"{archive} can't be unpacked: {error}") from error
    except OSError as error:
        # for damage, gzip raises an OSError without errno
        reason = error.strerror or str(error)
        raise DataError(f"{archive} can't be unpacked: {reason}") from error
