"""A folder on disk as the tree of names that a layout is decided from."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.data.layout.names import is_image_name, is_passed_over
from breedclf.data.layout.tree import Folder
from breedclf.errors import DataError

OUTPUT_MARKER = ".breedclf-output"
"""An empty file in a folder that breedclf writes into: images in it are no class."""

_OUTPUT_FILES = frozenset({OUTPUT_MARKER, "breedclf.json"})


def list_folder(root: Path) -> Folder:
    """List everything below a folder, each folder once; links are followed, except to a folder that holds the root.

    Raises:
        DataError: it isn't there, is no folder, or can't be read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data folder {root} {what}; give the folder that holds train/, valid/ and test/, or the class folders"
        )
    above = {_identity(folder) for folder in root.resolve().parents}
    top = Folder()
    known = {_identity(root): top}
    waiting = [(os.fspath(root), top)]
    while waiting:
        path, folder = waiting.pop()
        try:
            with os.scandir(path) as entries:
                waiting += _list(list(entries), folder, known, above)
        except OSError as error:
            folder.unreadable = error.strerror or str(error)
    if top.unreadable:
        raise DataError(f"data folder {root} can't be read: {top.unreadable}")
    top.is_output = False  # what the user names is meant
    return top


def mark_output(folder: Path) -> None:
    """Make a folder for what breedclf writes, never to be taken for a class; one that holds files stays as it is.

    Raises:
        OSError: it can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.iterdir(), None) is None:
        (folder / OUTPUT_MARKER).touch()


def _list(
    entries: list[os.DirEntry[str]],
    folder: Folder,
    known: dict[tuple[int, int], Folder],
    above: set[tuple[int, int]],
) -> list[tuple[str, Folder]]:
    """Put the entries into the folder; those that are folders themselves and new are returned."""
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
                if is_passed_over(name):
                    folder.folders[name] = Folder()
                    continue
                identity = _identity(entry)
                if identity in above:
                    folder.loops.add(name)
                    continue
                if identity not in known:
                    known[identity] = Folder()
                    new.append((entry.path, known[identity]))
                folder.folders[name] = known[identity]
                if entry.is_symlink():
                    folder.links.add(name)
        except OSError:  # a link to itself, or gone by now: the dataset check tells of it
            continue
    folder.images = sorted(images)
    return new


def _identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - of a path or an entry alike
    return status.st_dev, status.st_ino
