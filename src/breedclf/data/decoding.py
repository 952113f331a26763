"""Decode an image file to uint8 [3, H, W]: plain JPEGs by torchvision, which is faster, everything else by Pillow.

Both decoders give the same pixels and refuse the same files: a file that isn't plain, or that the fast decoder can't
read, is passed to the general one, which also raises the errors that users see.
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

_RGB = 3  # torchvision's number of this mode
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
        name: the name of the image in errors.
        max_pixels: images with more pixels are refused.
        enough_px: allows a plain JPEG to be decoded at a half, a quarter or an eighth of its size (its 8 x 8 blocks are
            then computed that much smaller) as long as its shorter side keeps this many pixels.
        color: `srgb` converts colors that are far from sRGB.

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
    """A uint8 [3, H, W] tensor as an RGB image."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


class PlainJpeg(NamedTuple):
    """A complete JPEG, grayscale or of three channels: its bytes without EXIF and XMP, (height, width), orientation."""

    data: bytes
    size: tuple[int, int]
    orientation: int


def plain_jpeg(data: bytes, max_pixels: int = MAX_PIXELS, *, color: Color = "as_stored") -> PlainJpeg | None:
    """The file as a JPEG that fast decoders read exactly as Pillow does; None for any other file."""
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
    """Whether the data of an image [3, H, W] reached its last pixel: decoders fill in gray where it didn't."""
    last = image.numpy()[:, -1, -1]  # reading one number by torch takes 10 times as long
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
    """Turn an image [3, H, W] upright by its EXIF orientation (1 to 8)."""
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
    """Decode by Pillow, whose decoder can compute fewer pixels of each block."""
    height, width = size
    try:
        image = Image.open(BytesIO(jpeg), formats=["JPEG"])
        image.draft("RGB", (width // factor, height // factor))
        return as_tensor(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


def _factor(shorter_px: int, enough_px: int) -> int:
    """The largest factor by which an image can be decoded smaller."""
    return next((factor for factor in _FACTORS if shorter_px // factor >= enough_px), 1)


def _decoder() -> Callable[..., torch.Tensor] | None:
    """torchvision's JPEG decoder; None once torchvision has moved its decoders to another package."""
    return getattr(torch.ops.image, "decode_jpeg", None)
