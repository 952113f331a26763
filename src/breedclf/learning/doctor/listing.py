"""Which files a training would take from a folder, and what it would pass over or trip on; nothing is decoded here."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from breedclf.errors import DataError
from breedclf.learning.doctor.examination import Problem
from breedclf.learning.images import PICTURE_SUFFIXES, sniff_format
from breedclf.learning.scan import SPLIT_FOLDERS
from breedclf.learning.stamp import Stamp

UNDIVIDED = "all"
_FOREIGN_PICTURES = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".nef"})
_NO_PICTURES = frozenset({".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".html", ".db", ".ini", ".mat"})
_OTHER_TYPES = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Candidate(NamedTuple):
    """A file that a training would take for a picture; `path` is its name below the examined folder."""

    path: str
    split: str
    label: str
    stamp: Stamp


@dataclass
class Listing:
    """What lies in a folder: `folders` names the folder of each split, `labels` the class folders in it."""

    root: Path
    folders: dict[str, str]
    labels: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[Candidate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def class_folder(self, split: str, label: str) -> str:
        """A class folder's name below the root."""
        return _join(self.folders[split], label)


class _Entry(NamedTuple):
    name: str
    path: str
    status: os.stat_result
    is_link: bool


def list_pictures(root: Path) -> Listing:
    """Look at every file once, following symbolic links as a training does.

    Raises:
        DataError: the folder doesn't exist or can't be read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"data folder {root} {what}; give the folder that holds train/, or the class folders")
    found = {split: here for split, names in SPLIT_FOLDERS.items() if (here := _folders_named(root, names))}
    divided = "train" in found
    listing = Listing(root, {split: names[0] for split, names in found.items()} if divided else {UNDIVIDED: ""})
    above = frozenset(_identity(folder) for folder in (root.resolve(), *root.resolve().parents))
    if divided:
        _report_ignored_folders(listing, found)
    for split, folder in listing.folders.items():
        _list_split(listing, split, folder, above)
    _report_labels_alike(listing)
    return listing


def _folders_named(root: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if (root / name).is_dir()]


def _list_split(listing: Listing, split: str, folder: str, above: frozenset[tuple[int, int]]) -> None:
    above |= {_identity(listing.root / folder)}
    labels, strays = [], []
    try:
        entries = list(_entries(listing, folder))
    except OSError as error:
        raise DataError(f"data folder {listing.root / folder} can't be read: {error.strerror}") from error
    for entry in entries:
        if not stat.S_ISDIR(entry.status.st_mode):
            if stat.S_ISREG(entry.status.st_mode) and _suffix(entry.name) in PICTURE_SUFFIXES:
                strays.append(entry.name)
        elif (entry.status.st_dev, entry.status.st_ino) in above:
            _report(listing, "link_loop", entry.path, "a link to a folder that it lies in; it is not followed")
        else:
            labels.append(entry.name)
            _list_class(listing, split, entry, above)
    listing.labels[split] = labels
    if strays:
        many = f"{len(strays)} pictures lie" if len(strays) > 1 else "a picture lies"
        _report(listing, "stray_picture", folder or ".", f"{many} outside the class folders: {strays[0]!r}")


def _list_class(listing: Listing, split: str, class_folder: _Entry, above: frozenset[tuple[int, int]]) -> None:
    """Every file at any depth; a folder that two links lead to counts once."""
    seen: set[tuple[int, int]] = set()
    waiting = [(class_folder, above)]
    while waiting:
        here, above = waiting.pop()
        identity = (here.status.st_dev, here.status.st_ino)
        if identity in above:
            _report(listing, "link_loop", here.path, "a link to a folder that it lies in; it is not followed")
            continue
        if identity in seen:
            continue
        seen.add(identity)
        try:
            entries = list(_entries(listing, here.path))
        except OSError as error:
            _report(listing, "unreadable", here.path, f"the folder can't be read: {error.strerror}")
            continue
        _report_names_alike(listing, here.path, [entry.name for entry in entries])
        for entry in entries:
            if stat.S_ISDIR(entry.status.st_mode):
                waiting.append((entry, above | {identity}))
            else:
                _list_file(listing, split, class_folder.name, entry)


def _list_file(listing: Listing, split: str, label: str, entry: _Entry) -> None:
    status, suffix = entry.status, _suffix(entry.name)
    if not stat.S_ISREG(status.st_mode):
        what = _OTHER_TYPES.get(stat.S_IFMT(status.st_mode), "no regular file")
        _report(listing, "not_a_file", entry.path, f"it is {what}; nothing is read from it")
    elif suffix in PICTURE_SUFFIXES:
        listing.pictures.append(Candidate(entry.path, split, label, Stamp.of(status)))
    elif suffix in _FOREIGN_PICTURES:
        _report(listing, "overlooked", entry.path, f"{suffix} is not read")
    elif suffix not in _NO_PICTURES and (format_name := _format_of(listing.root / entry.path)):
        _report(listing, "overlooked", entry.path, f"its content is {format_name}, but its name doesn't say so")


def _entries(listing: Listing, folder: str) -> Iterator[_Entry]:
    """What a folder holds, by name, without what is hidden; links that lead nowhere are reported instead."""
    with os.scandir(listing.root / folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = _join(folder, entry.name)
        try:
            yield _Entry(entry.name, path, entry.stat(), entry.is_symlink())
        except OSError as error:
            if error.errno == errno.ELOOP:
                _report(listing, "link_loop", path, "a link that leads back to itself")
            elif error.errno == errno.ENOENT and entry.is_symlink():
                _report(
                    listing,
                    "broken_link",
                    path,
                    f"a link to {os.fspath(Path(entry.path).readlink())!r}, which doesn't exist",
                )
            else:
                _report(listing, "unreadable", path, f"it can't be read: {error.strerror}")


def _report_ignored_folders(listing: Listing, found: dict[str, list[str]]) -> None:
    for split, names in found.items():
        for name in names[1:]:
            _report(listing, "ignored_folder", name, f"{names[0]}/ is the {split} split; {name}/ is not read")


def _report_names_alike(listing: Listing, folder: str, names: list[str]) -> None:
    for first, *others in _alike(names):
        for other in others:
            _report(listing, "case_conflict", _join(folder, other), _difference(first, other))


def _report_labels_alike(listing: Listing) -> None:
    splits_of: dict[str, list[str]] = defaultdict(list)
    for split, labels in listing.labels.items():
        for label in labels:
            splits_of[label].append(split)
    for first, *others in _alike(splits_of):
        for other in others:
            path = listing.class_folder(splits_of[other][0], other)
            _report(listing, "case_conflict", path, _difference(first, other))


def _alike(names: Iterable[str]) -> Iterator[list[str]]:
    """Names that one file system tells apart and another doesn't: by case, or by how an accent is encoded."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name if name.isascii() and name.islower() else _folded(name)].append(name)
    return (group for group in groups.values() if len(group) > 1)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _difference(first: str, other: str) -> str:
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", other)
    return f"differs from {first!r} only in {'how accents are encoded' if same else 'upper and lower case'}"


def _format_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return sniff_format(file.read(16))
    except OSError:
        return None


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million names takes seconds


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _report(listing: Listing, kind: str, path: str, detail: str) -> None:
    listing.problems.append(Problem.model_validate({"kind": kind, "path": path, "detail": detail}))
