"""Small JPEGs of images, for reports."""

from __future__ import annotations

from io import BytesIO

from breedclf.data.images import pillow_image
from breedclf.data.split import SplitImages

_QUALITY = 75


def thumbnail(images: SplitImages, index: int, side_px: int) -> bytes:
    """A JPEG of an image, of at most `side_px` pixels on each side.

    Raises:
        ImageError: the image can't be read.
    """
    image = pillow_image(images.read(index), images.name(index), color="srgb").copy()
    image.thumbnail((side_px, side_px))
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
