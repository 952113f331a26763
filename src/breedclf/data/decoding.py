"""From an image file to the network's kind of image, uint8 [3, H, W]: plain JPEGs the quick way, all else by Pillow.

Both ways give the same pixels, and what one refuses the other refuses, too: a file that isn't plain, or that the quick
way stumbles over, goes the general way, whose errors are those that users read.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from breedclf.data.formats import jpeg as jpegs
from breedclf.data.formats.color import Color, ProfileError, is_far
from breedclf.data.formats.cost import is_too_costly
from breedclf.data.formats.loading import ran_out_of_data
from breedclf.data.formats.orientation import orientation
from breedclf.data.images import MAX_PIXELS, read_file, read_image
from breedclf.runtime import vision  # noqa: F401 - registers the decoder

_RGB = 3  # torchvision's number of the mode
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, all by Huffman's code
_MIN_PLAIN_PIXELS = 64
_FACTORS = (8, 4, 2)


def decode_image(
    source: Path | bytes,
    name: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    enough_px: int | None = None,
    color: Color = "as_stored",
) -> torch.Tensor:
    """Decode a file or its bytes into an upright image, uint8 [3, H, W].

    Args:
        source: the file, or its bytes.
        name: what errors call it.
        max_pixels: how many it may have.
        enough_px: a plain JPEG whose shorter side is at least twice that may come out at a half, a quarter or an eighth
            of its size, no shorter than that: its blocks of 8 x 8 are then computed that much smaller.
        color: whether colors far from sRGB are converted to it.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels.
        ImageError: it can't be read, is in another format, or is damaged.
    """
    name = name or ("the given bytes" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    jpeg = plain_jpeg(data, max_pixels, color=color)
    quick = None if jpeg is None else _decoded(jpeg, enough_px)
    if quick is not None:
        return quick
    return as_tensor(read_image(data, name, max_pixels=max_pixels, color=color)[0])


def as_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB image as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def as_image(image: torch.Tensor) -> Image.Image:
    """The other way round."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


class PlainJpeg(NamedTuple):
    """A whole JPEG of grey or three colors: its bytes without EXIF and XMP, height and width, and its orientation."""

    data: bytes
    size: tuple[int, int]
    orientation: int


def plain_jpeg(data: bytes, max_pixels: int = MAX_PIXELS, *, color: Color = "as_stored") -> PlainJpeg | None:
    """The file as one that quick decoders read as Pillow does; None for all else."""
    if not data.startswith(b"\xff\xd8\xff") or not data.endswith(jpegs.END):
        return None
    if is_too_costly(data, "JPEG", max_pixels=max_pixels):
        return None
    about = jpegs.parts(data)
    plain = about.frame in _PLAIN_FRAMES and about.bits == 8 and len(about.components) in (1, 3)
    if not plain or not _MIN_PLAIN_PIXELS <= about.size[0] * about.size[1] <= max_pixels:
        return None
    if not jpegs.in_one_scan(data, about) and not _scans_are_there(data, about):
        return None
    if color == "srgb" and about.icc and _may_be_converted(about.icc):
        return None
    turn = orientation(about.exif, about.xmp) if about.exif or about.xmp else 1
    return PlainJpeg(jpegs.without_metadata(data, about), about.size, turn)


def is_whole(image: torch.Tensor) -> bool:
    """Whether a decoder had data up to the last pixel of an image [3, H, W]: it fills in a grey where it hadn't."""
    last = image.numpy()[:, -1, -1]  # torch takes 10 times as long for one number
    return not ran_out_of_data(int(last[0])) or not ran_out_of_data(tuple(last.tolist()))


def _scans_are_there(data: bytes, about: jpegs.Parts) -> bool:
    try:
        found, end = jpegs.scans(data, about)
    except ValueError:
        return False
    return end >= 0 and not jpegs.missing(about, found)


def _may_be_converted(profile: bytes) -> bool:
    try:
        return is_far(profile)
    except ProfileError:
        return False


def turned(image: torch.Tensor, value: int) -> torch.Tensor:
    """An image [3, H, W] upright, by its EXIF orientation: a mirrored one first, then a quarter turn or a half."""
    if value >= 5:
        image = image.transpose(1, 2)
    flipped = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(value, ())
    return image.flip(flipped) if flipped else image


def _decoded(jpeg: PlainJpeg, enough_px: int | None) -> torch.Tensor | None:
    factor = 1 if enough_px is None else _factor(min(jpeg.size), enough_px)
    decoded = _whole(jpeg.data) if factor == 1 else _scaled(jpeg.data, jpeg.size, factor)
    return None if decoded is None or not is_whole(decoded) else turned(decoded, jpeg.orientation)


def _whole(jpeg: bytes) -> torch.Tensor | None:
    decoder = _decoder()
    if decoder is None:
        return None
    try:
        decoded: torch.Tensor = decoder(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8), _RGB, False)
    except RuntimeError:
        return None
    return decoded


def _scaled(jpeg: bytes, size: tuple[int, int], factor: int) -> torch.Tensor | None:
    """By Pillow, whose decoder computes fewer pixels of each block when asked to."""
    height, width = size
    try:
        image = Image.open(BytesIO(jpeg), formats=["JPEG"])
        image.draft("RGB", (width // factor, height // factor))
        return as_tensor(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


def _factor(shorter_px: int, enough_px: int) -> int:
    """By how much an image may be decoded smaller."""
    return next((factor for factor in _FACTORS if shorter_px // factor >= enough_px), 1)


def _decoder() -> Callable[..., torch.Tensor] | None:
    """torchvision's, while there is one: its decoders are to move to another package."""
    return getattr(torch.ops.image, "decode_jpeg", None)
