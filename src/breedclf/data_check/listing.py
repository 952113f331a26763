"""List the files that training would read from a folder, and report those it would skip; decodes nothing."""

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

from breedclf.data.images import sniff_format
from breedclf.data.layout import Layout, layout_of
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import is_image_name
from breedclf.data_check.result import Problem
from breedclf.errors import DataError
from breedclf.files.file_stat import FileStat

_FOREIGN_IMAGES = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".nef"})
_NO_IMAGES = frozenset({".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".html", ".db", ".ini", ".mat"})
_OTHER_TYPES = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Candidate(NamedTuple):
    """A file that training would read as an image; `path` is relative to the checked folder."""

    path: str
    split: str
    label: str
    file_stat: FileStat


@dataclass
class Listing:
    """The contents of a checked folder: `folders` maps each split to its folder, `labels` to its class folders.

    `table` is the path of the table, if the images come from one: then `folders` hold its name, and classes have no
    folders.
    """

    root: Path
    folders: dict[str, str]
    layout: Layout
    labels: dict[str, list[str]] = field(default_factory=dict)
    images: list[Candidate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    table: str = ""

    def class_folder(self, split: str, label: str) -> str:
        """The path of a class folder below the root; the label, if the classes come from a table."""
        return label if self.table else _join(self.folders[split], label)


class _Entry(NamedTuple):
    name: str
    path: str
    status: os.stat_result


def list_images(root: Path) -> Listing:
    """List the files of every class folder; the layout is decided by the same code as for training.

    Raises:
        DataError: the folder doesn't exist or can't be read.
    """
    layout = layout_of(list_folder(root))
    listing = Listing(root, dict(layout.splits), layout)
    if layout.divided and "train" not in layout.splits:
        listing.folders["train"], listing.labels["train"] = "", []
    _report_layout(listing)
    for split, by_label in layout.parts.items():
        listing.labels[split] = list(by_label)
        home = layout.splits[split]
        _list_files(listing, home, is_home=True)
        for label, parts in by_label.items():
            for part in sorted(parts, key=lambda part: part.path):
                for entry in _list_files(listing, part.path):
                    _list_file(listing, split, label, entry)
    _report_labels_alike(listing)
    return listing


def _report_layout(listing: Listing) -> None:
    layout = listing.layout
    if layout.refusal is not None and layout.refusal.kind in ("unclear_layout", "name_not_utf8"):
        _report(listing, layout.refusal.kind, layout.refusal.path, layout.refusal.detail)
    for path, reason, count, instead in layout.set_aside:
        if reason == "stray":
            subject = f"{count} images are" if count > 1 else "an image is"
            _report(listing, "stray_picture", path or ".", f"{subject} outside the class folders")
        elif reason == "unlabeled":
            detail = "its images are in no class folder, so they can't be evaluated"
            _report(listing, "stray_picture", path, detail)
        elif reason == "second_spelling":
            split = next(split for split, home in layout.splits.items() if home == instead)
            _report(listing, "ignored_folder", path, f"{instead}/ is the {split} split; {path}/ is not read")
        elif reason == "not_a_split":
            _report(listing, "ignored_folder", path, f"{layout.why}; {path}/ is not read although it holds images")
        elif reason == "read_elsewhere":
            _report(listing, "ignored_folder", path, f"a link to {instead}/, which is already read")
        elif reason == "link_loop":
            _report(listing, "link_loop", path, "a link to a folder that contains it; it is not followed")


def _list_files(listing: Listing, folder: str, *, is_home: bool = False) -> list[_Entry]:
    """The entries of a folder that are not folders; of a split's own files only broken links are reported."""
    try:
        entries = list(_entries(listing, folder))
    except OSError as error:
        if is_home:
            raise DataError(f"data folder {listing.root / folder} can't be read: {error.strerror}") from error
        _report(listing, "unreadable", folder, f"the folder can't be read: {error.strerror}")
        return []
    if not is_home:
        _report_names_alike(listing, folder, [entry.name for entry in entries])
    return [entry for entry in entries if not stat.S_ISDIR(entry.status.st_mode)]


def _list_file(listing: Listing, split: str, label: str, entry: _Entry) -> None:
    status, suffix = entry.status, _suffix(entry.name)
    if not stat.S_ISREG(status.st_mode):
        what = _OTHER_TYPES.get(stat.S_IFMT(status.st_mode), "not a regular file")
        _report(listing, "not_a_file", entry.path, f"it is {what}; it is not read")
    elif is_image_name(entry.name):
        listing.images.append(Candidate(entry.path, split, label, FileStat.of(status)))
    elif suffix in _FOREIGN_IMAGES:
        _report(listing, "overlooked", entry.path, f"{suffix} files are not read")
    elif suffix not in _NO_IMAGES and (format_name := _format_of(listing.root / entry.path)):
        _report(listing, "overlooked", entry.path, f"its content is {format_name}, but its suffix says otherwise")


def _entries(listing: Listing, folder: str) -> Iterator[_Entry]:
    """The entries of a folder by name, without hidden ones; broken links are reported instead."""
    with os.scandir(listing.root / folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = _join(folder, entry.name)
        try:
            yield _Entry(entry.name, path, entry.stat())
        except OSError as error:
            if error.errno == errno.ELOOP:
                _report(listing, "link_loop", path, "a link to itself")
            elif error.errno == errno.ENOENT and entry.is_symlink():
                _report(
                    listing,
                    "broken_link",
                    path,
                    f"a link to {os.fspath(Path(entry.path).readlink())!r}, which doesn't exist",
                )
            else:
                _report(listing, "unreadable", path, f"it can't be read: {error.strerror}")


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
    """Groups of names that only some file systems distinguish: they differ in case, or in how accents are encoded."""
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


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _report(listing: Listing, kind: str, path: str, detail: str) -> None:
    listing.problems.append(Problem.model_validate({"kind": kind, "path": path, "detail": detail}))
