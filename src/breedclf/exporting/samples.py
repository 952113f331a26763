"""The images on which an exported model is compared: some of the user's own, or drawn ones."""

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
    """Images ready for the network, uint8 [N, 3, crop, crop], and the reasons of those that can't be read."""

    pictures: NDArray[np.uint8]
    drawn: bool
    skipped: tuple[str, ...] = ()


def drawn_samples(preprocessing: Preprocessing) -> Samples:
    """Two images of every pattern; always the same ones."""
    pictures = [
        draw_image(pattern, np.random.default_rng([0, number]), size_px=_DRAWN_PX)
        for number, pattern in enumerate(list(PATTERNS) * 2)
    ]
    return Samples(_stacked(preprocessing.view(picture, 0) for picture in pictures), drawn=True)


def samples_from(sources: Sequence[Path], preprocessing: Preprocessing) -> Samples:
    """At most MOST_IMAGES, taken evenly from files and from everything below folders.

    Raises:
        DataError: a source isn't there, holds no images, or none of the images can be read.
        ImageError: a source is a URL.
    """
    paths = [path for source in sources for path in _pictures_of(source)]
    count = min(len(paths), MOST_IMAGES)
    chosen = [paths[number * len(paths) // count] for number in range(count)]
    views, skipped = [], []
    for path in chosen:
        try:
            views.append(preprocessing.view(decode_image(path, color=preprocessing.color), 0))
        except ImageError as error:
            skipped.append(str(error))
    if not views:
        raise DataError(f"none of the {count} images to compare on can be read; the first: {skipped[0]}")
    return Samples(_stacked(views), drawn=False, skipped=tuple(skipped))


def _pictures_of(source: Path) -> list[Path]:
    if not source.is_dir():
        if not source.exists():
            as_path(source)
            raise DataError(f"{source} to compare on isn't there; name an image, or a folder of images")
        return [source]
    found = sorted(images_below(source))
    if not found:
        raise DataError(f"{source} holds no images to compare on; name another folder, or none for drawn images")
    return found


def _stacked(views: Iterable[torch.Tensor]) -> NDArray[np.uint8]:
    stacked: NDArray[np.uint8] = torch.stack(list(views)).numpy()
    return stacked
