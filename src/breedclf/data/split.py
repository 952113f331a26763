"""The images of one split: what can be read, named and identified by content, whatever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from breedclf.data.images import ImageLike


class SplitImages(Protocol):
    """Images in a fixed order, numbered from 0; they can be pickled, and are read by several threads at once."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> ImageLike:
        """The image as its source has it: a path, the bytes of a file, a PIL image or an array.

        Raises:
            ImageError: the source can't give it.
        """
        ...

    def name(self, index: int) -> str:
        """The image's name in errors and reports; the path of a file."""
        ...

    def file_or_digest(self, index: int) -> Path | bytes:
        """The file of an image; if it isn't a file, the digest of its content, or its name where it is unreadable."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Image files."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Path:
        return self.paths[index]

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def file_or_digest(self, index: int) -> Path:
        return self.paths[index]


@dataclass(frozen=True)
class ChosenImages:
    """Some images of others: those at `indices`, in that order."""

    images: SplitImages
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> ImageLike:
        return self.images.read(self.indices[index])

    def name(self, index: int) -> str:
        return self.images.name(self.indices[index])

    def file_or_digest(self, index: int) -> Path | bytes:
        return self.images.file_or_digest(self.indices[index])


@dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order; `targets[i]`, an index into the labels, is the class of image i."""

    name: str
    images: SplitImages
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def chosen(self, indices: Sequence[int]) -> Split:
        """The images at `indices`, as a split of the same name."""
        return Split(self.name, ChosenImages(self.images, indices), tuple(self.targets[index] for index in indices))
