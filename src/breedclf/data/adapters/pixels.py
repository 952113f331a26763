"""What other packages call an image, as an image that breedclf decodes: torch tensors and arrays of one channel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from breedclf.data.images import image_from_array
from breedclf.errors import ImageError

if TYPE_CHECKING:
    from breedclf.data.images import ImageLike

_CHANNELS = (1, 3, 4)


def as_image(value: object) -> ImageLike:
    """A path, file bytes, PIL image, uint8 array [H, W] or [H, W, C], or uint8 tensor [H, W] or [C, H, W]; C: 1, 3, 4.

    Raises:
        ImageError: it is something else; the message says what to do.

    Example:
        >>> as_image(np.zeros((2, 4, 1), np.uint8)).shape
        (2, 4)
    """
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return Path(value)
    if isinstance(value, (str, Image.Image)):
        return value
    if isinstance(value, np.ndarray):
        return image_array(value)
    if is_tensor(value):
        return image_array(_channels_last(value))
    raise ImageError(
        f"an image must be a path, the bytes of a file, a PIL image or a uint8 array, not {type(value).__name__}"
    )


def image_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """An array as uint8 [H, W] or [H, W, 3 or 4].

    Raises:
        ImageError: it has another dtype or shape.
    """
    check_pixels(array.dtype.name, array.shape)
    pixels: NDArray[np.uint8] = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array  # type: ignore[assignment]
    image_from_array(pixels)
    return pixels


def check_pixels(dtype: str, shape: tuple[int, ...]) -> None:
    """Check that pixels are bytes.

    Raises:
        ImageError: they are something else.
    """
    if dtype == "uint8":
        return
    remedy = (
        "give the original images without a transform to floats, or convert values from 0 to 1 back: "
        "(images * 255).round().astype('uint8')"
        if "float" in dtype
        else "give 8 bits per channel"
    )
    raise ImageError(f"pixels are {dtype} {list(shape)}, not uint8: {remedy}")


def is_tensor(value: object) -> bool:
    """Whether it is a torch tensor; torch needn't be loaded."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _channels_last(tensor: object) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.asarray(tensor.detach().cpu())  # type: ignore[attr-defined]
    check_pixels(array.dtype.name, array.shape)
    return np.moveaxis(array, 0, 2) if array.ndim == 3 and array.shape[0] in _CHANNELS else array
