"""Find the files that a table names: relative to a folder, with or without suffix."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from breedclf.data.layout import everything_below
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import is_image_name
from breedclf.data.tables.places import TablePlace

_URL = re.compile(r"[a-z][a-z0-9+.\-]+:/", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:/", re.IGNORECASE)


class Finder:
    """Looks files up in listings of their folders, which is much faster than asking for each of them."""

    def __init__(self, place: TablePlace) -> None:
        self.place = place
        self._folders: dict[str, _Folder] = {}

    def find(self, cell: str) -> tuple[str, str]:
        """The path of the file that a cell names, and why it can't be used, if it can't.

        The reason is `missing`, `url`, `drive`, `null`, or `ambiguous: ` with the candidates.
        """
        text = cell.replace("\\", "/") if "\\" in cell else cell
        given, _, name = text.rpartition("/")
        if not given and text.startswith("/"):
            given = "/"
        folder = self._folders.get(given)
        if folder is None:
            folder = self._folders[given] = _Folder(str(self.place.root), given)
        if name in folder.names:
            return folder.prefix + name, ""
        return self._search(text, folder, name)

    def _search(self, text: str, folder: _Folder, name: str) -> tuple[str, str]:
        """The file, if it isn't in the listing under its name."""
        if folder.refusal or "\0" in name:
            return text, folder.refusal or "null"
        path = os.path.normpath(folder.prefix + name) if name in ("", ".", "..") else folder.prefix + name
        if os.path.lexists(path):  # the file system ignores case
            return path, ""
        for form in ("NFC", "NFD"):  # archives made on macOS encode accents in their own way
            if (other := unicodedata.normalize(form, name)) in folder.names:
                return folder.prefix + other, ""
        candidates: Sequence[str] = []
        if not is_image_name(name):
            candidates = folder.by_stem.get(name, ())
        if not candidates and self.place.anywhere and "/" not in text:
            candidates = self._by_name.get(name, ())
        if len(candidates) == 1:
            return candidates[0], ""
        return path, f"ambiguous: {', '.join(candidates[:3])}" if candidates else "missing"

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The images below the root by their names, with and without suffix."""
        by_name: dict[str, list[str]] = defaultdict(list)
        for part in everything_below(list_folder(self.place.root)):
            folder = _Folder(str(self.place.root), part.path)
            for image in part.folder.images:
                by_name[image].append(folder.prefix + image)
                by_name[image.rpartition(".")[0]].append(folder.prefix + image)
        return by_name


class _Folder:
    """A folder that paths of the table start with: its files, or why it can't be read."""

    def __init__(self, root: str, given: str) -> None:
        text = f"{given}/"
        self.refusal = ""
        if "\0" in text:
            self.refusal = "null"
        elif _URL.match(text):
            self.refusal = "url"
        elif os.name != "nt" and _DRIVE.match(text):
            self.refusal = "drive"
        expanded = os.path.expanduser(given) if given.startswith("~") else given  # noqa: PTH111 - Path drops "./"
        path = os.path.normpath(os.path.join(root, expanded))  # noqa: PTH118 - `..` is resolved by name
        self.prefix: str = {".": "", "/": "/"}.get(path, f"{path}/")
        self.names: frozenset[str] = frozenset() if self.refusal else _names_in(path)

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """The paths of images by their name without suffix."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.names):
            if is_image_name(name):
                found[name.rpartition(".")[0]].append(self.prefix + name)
        return found


def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names, not a Path for each of a million files
    except OSError:
        return frozenset()  # the files are missing
