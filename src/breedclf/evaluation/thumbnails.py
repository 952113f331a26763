"""Small copies of images for the report."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from breedclf.data.split import SplitImages
from breedclf.data.thumbnails import thumbnail
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

    def of(self, name: str) -> bytes:
        """A small JPEG of an image."""
        return thumbnail(self._images, self.position(name), _THUMBNAIL_PX)

    def position(self, name: str) -> int:
        """The position of an image among all."""
        return self._at[Path(name)]
