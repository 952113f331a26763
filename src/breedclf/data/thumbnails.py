"""Small JPEGs of images, for reports."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from PIL import Image

from breedclf.data.decoding import as_image, decode_image
from breedclf.data.images import pillow_image
from breedclf.data.split import SplitImages
from breedclf.errors import ImageError
from breedclf.runtime.machine import available_cores
from breedclf.runtime.threads import single_core_threads

_QUALITY = 75


def thumbnail(images: SplitImages, index: int, side_px: int) -> bytes:
    """A JPEG of an image, of at most `side_px` pixels on each side.

    Raises:
        ImageError: the image can't be read.
    """
    image = _decoded(images, index, side_px)
    image.thumbnail((side_px, side_px))
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()


def thumbnails(
    images: SplitImages, indices: Iterable[int], side_px: int, *, skip_unreadable: bool = False
) -> dict[int, bytes]:
    """The same of several images by index, each made once, on all cores; unreadable ones can be left out.

    Raises:
        ImageError: an image can't be read and `skip_unreadable` is False.
    """

    def made(index: int) -> bytes | None:
        try:
            return thumbnail(images, index, side_px)
        except ImageError:
            if skip_unreadable:
                return None
            raise

    distinct = list(dict.fromkeys(indices))
    with single_core_threads(available_cores()) as pool:
        found = zip(distinct, pool.map(made, distinct), strict=True)
        return {index: jpeg for index, jpeg in found if jpeg is not None}


def _decoded(images: SplitImages, index: int, side_px: int) -> Image.Image:
    """The image with no more pixels than a thumbnail needs, if its file can be decoded at a fraction of its size."""
    source, name = images.read(index), images.name(index)
    if isinstance(source, Path | bytes):
        return as_image(decode_image(source, name, enough_px=side_px, color="srgb"))
    return pillow_image(source, name, color="srgb").copy()
