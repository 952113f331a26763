"""The listing of a folder as a tree of names, and which of its folders are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from breedclf.data.layout.names import skip_reason

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
    """Something that isn't read: a folder, or, for `stray` and `hidden_image`, a number of images in that folder.

    `instead` is the folder that is read in its place.
    """

    path: str
    reason: Reason
    images: int = 1
    instead: str = ""


@dataclass(eq=False, slots=True)
class Folder:
    """A listed folder; a folder that is reached by several links is the same object everywhere.

    `images` are its image files, without the `hidden_images` whose names start with a dot. `links` are the names
    of those `folders` that are symbolic links, `loops` links to a folder above the listed one. `is_output`
    marks a folder that breedclf wrote, `unreadable` is the reason if it couldn't be listed.
    """

    folders: dict[str, Folder] = field(default_factory=dict)
    images: Sequence[str] = ()
    hidden_images: int = 0
    links: set[str] = field(default_factory=set)
    loops: set[str] = field(default_factory=set)
    is_output: bool = False
    unreadable: str | None = None


class Place(NamedTuple):
    """A folder, its path below the root, and the folders that contain it."""

    path: str
    folder: Folder
    above: tuple[Folder, ...]

    @property
    def images(self) -> int:
        """The number of images directly in it."""
        return len(self.folder.images)

    def places(self, aside: list[SetAside] | None = None) -> Iterator[tuple[str, Place]]:
        """The subfolders that are read, by name; the others are added to `aside`."""
        above = (*self.above, self.folder)
        for name in sorted({*self.folder.folders, *self.folder.loops}):
            found = self.folder.folders.get(name)
            reason: Reason | None = skip_reason(name)
            if reason is None and (found is None or found in above):
                reason = "link_loop"
            elif reason is None and found is not None and found.is_output:
                reason = "output"
            if reason is None and found is not None:
                yield name, Place(join(self.path, name), found, above)
            elif reason is not None and aside is not None:
                aside.append(SetAside(join(self.path, name), reason))

    def inner(self) -> dict[str, Place]:
        """The subfolders that hold images, at any depth."""
        return {name: place for name, place in self.places() if place.holds_images()}

    def holds_images(self) -> bool:
        """Whether it holds images at any depth; a folder that can't be listed counts as if it did."""
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
    """The path of a name in a folder; the root's path is empty."""
    return f"{folder}/{name}" if folder else name
