"""Find the files that a table names: relative to a folder, with or without suffix."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from breedclf.data.layout import everything_below
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import is_image_name
from breedclf.data.tables.places import TablePlace

_URL = re.compile(r"[a-z][a-z0-9+.\-]+:/", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:/", re.IGNORECASE)


@dataclass(frozen=True)
class Finder:
    """Looks files up in listings of their folders, which is much faster than asking for each of them."""

    place: TablePlace
    _folders: dict[str, _Names] = field(default_factory=dict)
    _below: list[dict[str, list[str]]] = field(default_factory=list)

    def find(self, cell: str) -> tuple[str, str]:
        """The path of the file that a cell names, and why it can't be used, if it can't.

        The reason is `missing`, `url`, `drive`, `null`, or `ambiguous: ` with the candidates.
        """
        text = cell if "\\" not in cell else cell.replace("\\", "/")
        if problem := _refused(text):
            return text, problem
        if text.startswith("~"):
            text = os.path.expanduser(text)  # noqa: PTH111 - a Path for each of a million names takes seconds
        path = _joined(str(self.place.root), text)
        folder, _, name = path.rpartition("/")
        names = self._names(folder or "/")
        if name in names.all or os.path.lexists(path):  # a file system may ignore case
            return path, ""
        if not is_image_name(name) and (found := names.by_stem.get(name)):
            candidates = [f"{folder}/{each}" for each in found]
        elif self.place.anywhere and "/" not in text:
            candidates = self._anywhere(name)
        else:
            return path, "missing"
        if len(candidates) == 1:
            return candidates[0], ""
        return path, f"ambiguous: {', '.join(candidates[:3])}" if candidates else "missing"

    def _names(self, folder: str) -> _Names:
        if folder not in self._folders:
            self._folders[folder] = _Names.of(folder)
        return self._folders[folder]

    def _anywhere(self, name: str) -> list[str]:
        """The images below the root that have this name, with or without their suffix."""
        if not self._below:
            by_name: dict[str, list[str]] = defaultdict(list)
            for part in everything_below(list_folder(self.place.root)):
                for image in part.folder.images:
                    path = _joined(str(self.place.root), f"{part.path}/{image}" if part.path else image)
                    by_name[image].append(path)
                    by_name[image.rpartition(".")[0]].append(path)
            self._below.append(by_name)
        return self._below[0].get(name, [])


@dataclass(frozen=True)
class _Names:
    """The files of a folder: their names, and those of images by name without suffix."""

    all: frozenset[str]
    by_stem: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, folder: str) -> _Names:
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            pass  # the files are missing
        by_stem: dict[str, list[str]] = defaultdict(list)
        for name in names:
            if is_image_name(name):
                by_stem[name.rpartition(".")[0]].append(name)
        return cls(frozenset(names), by_stem)


def _refused(text: str) -> str:
    if "\0" in text:
        return "null"
    if ":" not in text:
        return ""
    if _URL.match(text):
        return "url"
    return "drive" if os.name != "nt" and _DRIVE.match(text) else ""


def _joined(root: str, text: str) -> str:
    """An absolute or relative path below the root, without `.` and doubled slashes; `..` is resolved by name."""
    path = text if text.startswith("/") else f"{root}/{text}"
    return os.path.normpath(path) if "/." in path or "//" in path else path
