"""Arrays in memory, or lists of images of any kind, as labeled images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from breedclf.data.adapters.class_labels import class_labels
from breedclf.data.adapters.pixels import as_image, check_pixels
from breedclf.errors import DataError, ImageError

if TYPE_CHECKING:
    from breedclf.data.images import ImageLike
    from breedclf.data.labeled_images import LabeledImages


@dataclass(frozen=True)
class ImagesInMemory:
    """Labeled images that this process holds: a stack of pixels, or a list of images."""

    images: NDArray[np.uint8] | Sequence[Any]
    labels: tuple[str, ...]
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> ImageLike:
        return as_image(self.images[index])

    def name_of(self, index: int) -> str:
        image = self.images[index]
        return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"

    def __repr__(self) -> str:
        return f"from_arrays({len(self)} images of {len(self.labels)} classes)"


def from_arrays(
    images: NDArray[np.uint8] | Sequence[ImageLike], labels: Iterable[object], names: Sequence[str] | None = None
) -> LabeledImages:
    """Images in memory as labeled images, to train on or to evaluate; nothing is copied.

    Args:
        images: uint8 [N, H, W] or [N, H, W, 1, 3 or 4]; or a list of images of any sizes: arrays, PIL images, the bytes
            of files, or paths.
        labels: the class of each image: names, or integers from 0 up.
        names: the class names that integers stand for, or the order of the classes if labels are names.

    Raises:
        DataError: there is no image; or images and labels aren't equally many, the pixels aren't uint8, a label is
            neither text nor an integer, or a class name is missing, empty or duplicated.

    Example:
        >>> images = np.zeros((4, 32, 32, 3), np.uint8)
        >>> from_arrays(images, [0, 1, 1, 0], names=["ant", "bee"])
        from_arrays(4 images of 2 classes)
    """
    _check_images(images)
    found = class_labels(labels, names)
    if len(found.targets) != len(images):
        raise DataError(f"there are {len(images)} images and {len(found.targets)} labels: give one label per image")
    if not len(images):
        raise DataError("there are no images: the list is empty")
    return ImagesInMemory(images, found.names, found.targets)


def _check_images(images: object) -> None:
    """Check what can be checked without reading each image.

    Raises:
        DataError: it isn't a stack or a list of images.
    """
    shape = getattr(images, "shape", None)
    if shape is None:
        if isinstance(images, (str, bytes, bytearray)) or not isinstance(images, Sequence):
            raise DataError(f"images must be an array or a list of images, not {type(images).__name__}")
        return
    dtype = str(getattr(images, "dtype", "")).removeprefix("torch.")
    if dtype == "object":
        raise DataError("images of different sizes don't fit into one array: give a list, list(images)")
    if len(shape) not in (3, 4):
        raise DataError(f"an array of images has the shape [N, H, W] or [N, H, W, 3], not {list(shape)}")
    try:
        check_pixels(dtype, tuple(shape))
        if len(images):  # type: ignore[arg-type]
            as_image(images[0])  # type: ignore[index]
    except ImageError as error:
        raise DataError(str(error)) from error
