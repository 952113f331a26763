"""Images on which an exported model is compared: the user's own, or synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.decoding import decode_image
from breedclf.data.image_folder import images_below
from breedclf.data.images import as_path
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import DataError, ImageError
from breedclf.testing.images import PATTERNS, draw_image

MOST_IMAGES = 32
_DRAWN_PX = 320


@dataclass(frozen=True)
class Samples:
    """Preprocessed images, uint8 [N, 3, crop, crop], and error messages of unreadable ones."""

    images: NDArray[np.uint8]
    drawn: bool
    skipped: tuple[str, ...] = ()


def drawn_samples(preprocessing: Preprocessing) -> Samples:
    """Two synthetic images of every pattern; deterministic."""
    images = [
        draw_image(pattern, np.random.default_rng([0, number]), size_px=_DRAWN_PX)
        for number, pattern in enumerate(list(PATTERNS) * 2)
    ]
    return Samples(_stacked(preprocessing.view(image, 0) for image in images), drawn=True)


def samples_from(sources: Sequence[Path], preprocessing: Preprocessing) -> Samples:
    """At most MOST_IMAGES images, evenly sampled from files and recursively from folders.

    Raises:
        DataError: a source doesn't exist or has no images, or none of the images can be read.
        ImageError: a source is a URL.
    """
    paths = [path for source in sources for path in _images_of(source)]
    count = min(len(paths), MOST_IMAGES)
    chosen = [paths[number * len(paths) // count] for number in range(count)]
    views, skipped = [], []
    for path in chosen:
        try:
            views.append(preprocessing.view(decode_image(path, color=preprocessing.color), 0))
        except ImageError as error:
            skipped.append(str(error))
    if not views:
        raise DataError(f"none of the {count} images to compare can be read; the first: {skipped[0]}")
    return Samples(_stacked(views), drawn=False, skipped=tuple(skipped))


def _images_of(source: Path) -> list[Path]:
    if not source.is_dir():
        if not source.exists():
            as_path(source)
            raise DataError(f"{source} doesn't exist; give an image or a folder of images to compare")
        return [source]
    found = sorted(images_below(source))
    if not found:
        raise DataError(f"{source} has no images to compare; give another folder, or none to use synthetic images")
    return found


def _stacked(views: Iterable[torch.Tensor]) -> NDArray[np.uint8]:
    stacked: NDArray[np.uint8] = torch.stack(list(views)).numpy()
    return stacked
