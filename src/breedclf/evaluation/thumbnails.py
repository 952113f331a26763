"""Small copies of images for the report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from breedclf.data.split import SplitImages
from breedclf.data.thumbnails import thumbnails
from breedclf.evaluation.images import shown_name

_THUMBNAIL_PX = 240


class Thumbnails:
    """Small JPEGs of images, by the names that results have; `root` is where these start."""

    def __init__(self, images: SplitImages, root: Path) -> None:
        self._images = images
        self._root = root

    @cached_property
    def _at(self) -> dict[Path, int]:
        return {shown_name(self._images.name(index), self._root): index for index in range(len(self._images))}

    def of(self, names: Sequence[str]) -> list[bytes]:
        """A small JPEG of each image.

        Raises:
            ImageError: an image can't be read.
        """
        positions = [self.position(name) for name in names]
        jpegs = thumbnails(self._images, positions, _THUMBNAIL_PX)
        return [jpegs[position] for position in positions]

    def position(self, name: str) -> int:
        """The position of an image among all."""
        return self._at[Path(name)]
