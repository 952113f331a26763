"""A job's archives: uncompressed `.tar.gz` files, since they remain on this machine."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

from breedclf.files.disk import replacing


def archive_folder(folder: Path, archive: Path) -> None:
    """Pack a folder's regular files atomically; the same files give the same bytes."""
    with replacing(archive) as temporary:
        _pack(folder, temporary)


def _pack(folder: Path, archive: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=0, mtime=0) as stored,
        tarfile.open(fileobj=stored, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in files:
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(member, file)
