"""A folder's listing as a tree of names, and what of it is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from breedclf.data.layout.names import is_passed_over

Reason = Literal[
    "output",
    "system",
    "hidden",
    "hidden_image",
    "no_images",
    "not_a_split",
    "second_spelling",
    "unlabeled",
    "stray",
    "read_elsewhere",
    "link_loop",
]
"""Why something is set aside."""


class SetAside(NamedTuple):
    """What isn't read: a folder, or for `stray` and `hidden_image` how many images in that folder.

    `instead` is the folder that is read in its place.
    """

    path: str
    reason: Reason
    images: int = 1
    instead: str = ""


@dataclass(eq=False, slots=True)
class Folder:
    """A listed folder; one that links lead to is the same object wherever it appears.

    `images` names its files with an image's suffix but for `hidden_images` many, whose names begin with a dot. `links`
    names those of its `folders` that are symbolic links, `loops` links to a folder above the listed one. `is_output`
    tells that breedclf made it, `unreadable` why it wasn't listed.
    """

    folders: dict[str, Folder] = field(default_factory=dict)
    images: Sequence[str] = ()
    hidden_images: int = 0
    links: set[str] = field(default_factory=set)
    loops: set[str] = field(default_factory=set)
    is_output: bool = False
    unreadable: str | None = None


class Place(NamedTuple):
    """A folder, its name below the root, and the folders that it lies in."""

    path: str
    folder: Folder
    above: tuple[Folder, ...]

    @property
    def images(self) -> int:
        """How many lie directly in it."""
        return len(self.folder.images)

    def places(self, aside: list[SetAside] | None = None) -> Iterator[tuple[str, Place]]:
        """The folders in it that are looked at, by name; the others are noted in `aside`."""
        above = (*self.above, self.folder)
        for name in sorted({*self.folder.folders, *self.folder.loops}):
            found = self.folder.folders.get(name)
            reason: Reason | None = is_passed_over(name)
            if reason is None and (found is None or found in above):
                reason = "link_loop"
            elif reason is None and found is not None and found.is_output:
                reason = "output"
            if reason is None and found is not None:
                yield name, Place(join(self.path, name), found, above)
            elif reason is not None and aside is not None:
                aside.append(SetAside(join(self.path, name), reason))

    def inner(self) -> dict[str, Place]:
        """The folders in it that hold images, at any depth."""
        return {name: place for name, place in self.places() if place.holds_images()}

    def holds_images(self) -> bool:
        """Whether an image lies in it at any depth; a folder that can't be listed may hold some."""
        seen: set[Folder] = set(self.above)
        waiting = [self]
        while waiting:
            here = waiting.pop()
            if here.folder in seen:
                continue
            if here.folder.unreadable or here.images:
                return True
            seen.add(here.folder)
            waiting += [place for _, place in here.places()]
        return False


def join(folder: str, name: str) -> str:
    """A name below a folder that is itself named below the root."""
    return f"{folder}/{name}" if folder else name
