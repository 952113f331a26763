"""The images that backbones are compared on: those of training and validation together, never those of the test."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breedclf.config import TrainingConfig
from breedclf.data.images import ImageLike
from breedclf.data.split import Split, SplitImages
from breedclf.data.tables.images import images_of_table
from breedclf.data.tables.places import place_of
from breedclf.data.training_data import TrainingData


@dataclass(frozen=True)
class JoinedImages:
    """The images of one list, then those of another."""

    first: SplitImages
    second: SplitImages

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def read(self, index: int) -> ImageLike:
        images, at = self._place(index)
        return images.read(at)

    def name(self, index: int) -> str:
        images, at = self._place(index)
        return images.name(at)

    def file_or_digest(self, index: int) -> Path | bytes:
        images, at = self._place(index)
        return images.file_or_digest(at)

    def _place(self, index: int) -> tuple[SplitImages, int]:
        count = len(self.first)
        return (self.first, index) if index < count else (self.second, index - count)


def pooled(data: TrainingData) -> Split:
    """The training and the validation images as one split."""
    train, valid = data.train, data.valid
    return Split("train and valid", JoinedImages(train.images, valid.images), train.targets + valid.targets)


def groups_of(config: TrainingConfig, images: SplitImages, digests: NDArray[np.uint8]) -> list[str]:
    """The group of each image, empty for none: the table's, or else one for images with the same content."""
    place = None if config.data is None else place_of(config.data, config.labels)
    if place is not None:
        of_path = {str(Path(image.path)): image.group for image in images_of_table(place).images}
        groups = [of_path.get(images.name(at), "") for at in range(len(images))]
        if any(groups):
            return groups
    contents = [digest.tobytes().hex() for digest in digests]
    counts = Counter(contents)
    return [content if counts[content] > 1 else "" for content in contents]
