"""What is in a dataset folder, without opening an image: its classes, and the images of each split."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from breedclf.data.layout import UNDIVIDED, Layout, layout_of
from breedclf.data.layout.disk import list_folder
from breedclf.errors import BreedclfError

LONGEST_SECONDS = 60.0
"""How long a listing is used at most, since files deep below may change without a trace in the folders above."""
_WATCHED = 2_000
"""Folders whose times tell whether a listing is still right."""


@dataclass(frozen=True)
class Contents:
    """The images of each class in each split, or why they can't be counted; `note` is a warning about the layout.

    `path` may also be a table, which isn't read.
    """

    splits: tuple[str, ...] = ()
    classes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    note: str = ""
    problem: str = ""

    @property
    def images(self) -> int:
        """The number of all images."""
        return sum(sum(counts) for _, counts in self.classes)

    @property
    def per_split(self) -> dict[str, int]:
        """The number of images of each split."""
        return {split: sum(counts[at] for _, counts in self.classes) for at, split in enumerate(self.splits)}


@dataclass
class ContentsReader:
    """Lists dataset folders, and lists one again when its folders have changed."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, object, Contents]] = field(default_factory=dict)

    def of(self, path: str) -> Contents:
        """The contents of the dataset at a path of this machine."""
        now, known = self.clock(), self._known.get(path)
        if known is not None and now - known[0] < LONGEST_SECONDS and known[1] == _state(Path(path)):
            return known[2]
        state = _state(Path(path))
        contents = read_contents(Path(path))
        self._known[path] = (now, state, contents)
        return contents


def read_contents(path: Path) -> Contents:
    """The contents of a dataset folder; of a table, nothing but the note."""
    try:
        if path.is_file():
            return Contents(note="This is a table; a check counts its images.")
        return contents_of(layout_of(list_folder(path)))
    except BreedclfError as error:
        return Contents(problem=str(error))
    except (OSError, ValueError) as error:
        return Contents(problem=f"{path} can't be read: {error}")


def contents_of(layout: Layout) -> Contents:
    """The counts of a layout, classes in alphabetical order."""
    if layout.refusal is not None and layout.refusal.kind == "unclear_layout":
        return Contents(problem=layout.refusal.detail)
    order = ("train", "valid", "test", UNDIVIDED)
    splits = tuple(sorted(layout.splits, key=lambda each: (order.index(each) if each in order else 9, each)))
    labels = sorted({label for parts in layout.parts.values() for label in parts})
    classes = tuple((label, tuple(layout.count(split, label) for split in splits)) for label in labels)
    refusal = layout.training_refusal()
    note = "" if refusal is None else f"Training can't use it: {refusal.detail}"
    return Contents(splits, classes, note or layout.doubt)


def _state(root: Path) -> object:
    """When the root and the folders down to two levels below it were changed; None if it can't be read."""
    found: list[tuple[str, int]] = []
    waiting = [(os.fspath(root), 0)]
    try:
        while waiting and len(found) < _WATCHED:
            folder, depth = waiting.pop()
            found.append((folder, Path(folder).stat().st_mtime_ns))
            if depth < 2:
                with os.scandir(folder) as entries:
                    waiting += [(each.path, depth + 1) for each in entries if each.is_dir()]
    except OSError:
        return None
    return sorted(found)
