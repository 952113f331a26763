"""The groups of images that must not be divided: those of a table, or images with the same content."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breedclf.config import TrainingConfig
from breedclf.data.split import SplitImages
from breedclf.data.tables.images import images_of_table
from breedclf.data.tables.places import place_of


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
