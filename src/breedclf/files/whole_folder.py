"""Folders that are written as a whole: a reader finds all of the old files or all of the new ones."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.files.disk import writing


@contextlib.contextmanager
def replacing_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` at the end of the block.

    The file `marker` in it lists its files, so that a later call replaces them, and never those of others. If the block
    raises, `folder` stays as it was.

    Args:
        folder: a folder that is new, empty, or written by this function before.
        marker: the name of the file that lists the others.

    Raises:
        ConfigError: the folder contains other files, or is the current one.
        DiskError: it can't be written.
    """
    folder = folder.resolve()
    _check(folder, marker)
    suffix = f"{os.getpid()}.{secrets.token_hex(4)}"
    new, old = (folder.with_name(f".{folder.name}.{suffix}.{kind}") for kind in ("new", "old"))
    try:
        with writing(folder, "make room, or choose another folder"):
            new.mkdir(parents=True)
            yield new
            _mark(new, marker)
            _check(folder, marker)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    finally:
        for rest in (new, old):
            shutil.rmtree(rest, ignore_errors=True)


def _check(folder: Path, marker: str) -> None:
    """Refuse a folder that holds anything else than what was written before."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a new folder")
    if folder == Path.cwd():
        raise ConfigError(f"{folder} is the current folder; choose another one, which is replaced as a whole")
    others = sorted(_files(folder) - _listed(folder, marker))
    if others:
        raise ConfigError(f"{folder} contains other files, such as {others[0]}; choose a new or an empty folder")


def _mark(folder: Path, marker: str) -> None:
    (folder / marker).write_text(json.dumps({"files": sorted(_files(folder))}, indent=1) + "\n", encoding="utf-8")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _listed(folder: Path, marker: str) -> set[str]:
    try:
        files = json.loads((folder / marker).read_bytes())["files"]
        return {marker, *map(str, files)}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()
