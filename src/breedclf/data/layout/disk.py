"""List a folder on disk as the tree of names that the layout is decided from."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.data.layout.names import is_image_name, skip_reason
from breedclf.data.layout.tree import Folder
from breedclf.errors import DataError
from breedclf.files.s3_uri import only_in_s3

OUTPUT_MARKER = ".breedclf-output"
"""An empty file that marks a folder as breedclf's output: its images aren't a class."""

_OUTPUT_FILES = frozenset({OUTPUT_MARKER, "breedclf.json"})


def list_folder(root: Path) -> Folder:
    """List everything below a folder, each folder once; links are followed, except to a folder that contains the root.

    Raises:
        DataError: it doesn't exist, isn't a folder, or can't be read.
    """
    if not root.is_dir():
        if (why := only_in_s3(root)) is not None:
            raise DataError(why)
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data folder {root} {what}; give the folder that holds train/, valid/ and test/, or the class folders"
        )
    above = {_identity(folder) for folder in root.resolve().parents}
    top = Folder()
    listed = {_identity(root): top}
    waiting = [(os.fspath(root), top)]
    while waiting:
        path, folder = waiting.pop()
        try:
            with os.scandir(path) as entries:
                waiting += _list(list(entries), folder, listed, above)
        except OSError as error:
            folder.unreadable = error.strerror or str(error)
    if top.unreadable:
        raise DataError(f"data folder {root} can't be read: {top.unreadable}")
    top.is_output = False  # the user asked for this folder
    return top


def mark_output(folder: Path) -> None:
    """Create an output folder, marked so that it is never read as a class; a folder that holds files isn't marked.

    Raises:
        OSError: it can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.iterdir(), None) is None:
        (folder / OUTPUT_MARKER).touch()


def _list(
    entries: list[os.DirEntry[str]],
    folder: Folder,
    listed: dict[tuple[int, int], Folder],
    above: set[tuple[int, int]],
) -> list[tuple[str, Folder]]:
    """Add the entries to the folder; return those that are folders and aren't listed yet."""
    new, images = [], []
    for entry in entries:
        name = entry.name
        try:
            if is_image_name(name) and entry.is_file():
                if name.startswith("."):
                    folder.hidden_images += 1
                else:
                    images.append(name)
            elif name in _OUTPUT_FILES:
                folder.is_output = True
            elif entry.is_dir():
                if skip_reason(name):
                    folder.folders[name] = Folder()
                    continue
                identity = _identity(entry)
                if identity in above:
                    folder.loops.add(name)
                    continue
                if identity not in listed:
                    listed[identity] = Folder()
                    new.append((entry.path, listed[identity]))
                folder.folders[name] = listed[identity]
                if entry.is_symlink():
                    folder.links.add(name)
        except OSError:  # a link to itself, or deleted meanwhile: the dataset check reports it
            continue
    folder.images = sorted(images)
    return new


def _identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - of a path or an entry alike
    return status.st_dev, status.st_ino
