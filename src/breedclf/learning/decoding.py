"""From a picture file to the network's kind of picture, uint8 [3, H, W]: plain JPEGs the quick way, all else by Pillow.

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

from breedclf.learning import vision  # noqa: F401 - registers the decoder
from breedclf.learning.image_cost import is_too_costly
from breedclf.learning.images import MAX_PIXELS, orientation, read_file, read_picture, without_exif

_RGB = 3  # torchvision's number of the mode
_END = b"\xff\xd9"
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, all by Huffman's code
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_MIN_PLAIN_PIXELS = 64
_FACTORS = (8, 4, 2)


def decode_picture(
    source: Path | bytes, name: str | None = None, *, max_pixels: int = MAX_PIXELS, enough_px: int | None = None
) -> torch.Tensor:
    """Decode a file or its bytes into an upright picture, uint8 [3, H, W].

    Args:
        source: the file, or its bytes.
        name: what errors call it.
        max_pixels: how many it may have.
        enough_px: a plain JPEG whose shorter side is at least twice that may come out at a half, a quarter or an eighth
            of its size, no shorter than that: its blocks of 8 x 8 are then computed that much smaller.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels.
        ImageError: it can't be read, is in another format, or is damaged.
    """
    name = name or ("the given bytes" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    jpeg = plain_jpeg(data, max_pixels)
    quick = None if jpeg is None else _decoded(jpeg, enough_px)
    return quick if quick is not None else as_tensor(read_picture(data, name, max_pixels=max_pixels)[0])


def as_tensor(picture: Image.Image) -> torch.Tensor:
    """An RGB picture as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def as_image(picture: torch.Tensor) -> Image.Image:
    """The other way round."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


class PlainJpeg(NamedTuple):
    """A whole JPEG of grey or three colours: its bytes without EXIF, height and width, and the turn EXIF asks for."""

    data: bytes
    size: tuple[int, int]
    orientation: int


def plain_jpeg(data: bytes, max_pixels: int = MAX_PIXELS) -> PlainJpeg | None:
    """The file as one that quick decoders read as Pillow does; None for all else."""
    if not data.startswith(b"\xff\xd8\xff") or not data.endswith(_END):
        return None
    if is_too_costly(data, "JPEG", max_pixels=max_pixels):
        return None
    size = _plain_size(data)
    if size is None or not _MIN_PLAIN_PIXELS <= size[0] * size[1] <= max_pixels:
        return None
    stripped, exif = without_exif(data)
    return PlainJpeg(stripped, size, orientation(exif) if exif else 1)


def turned(picture: torch.Tensor, value: int) -> torch.Tensor:
    """A picture [3, H, W] upright, by its EXIF orientation: a mirrored one first, then a quarter turn or a half."""
    if value >= 5:
        picture = picture.transpose(1, 2)
    flipped = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(value, ())
    return picture.flip(flipped) if flipped else picture


def _decoded(jpeg: PlainJpeg, enough_px: int | None) -> torch.Tensor | None:
    factor = 1 if enough_px is None else _factor(min(jpeg.size), enough_px)
    decoded = _whole(jpeg.data) if factor == 1 else _scaled(jpeg.data, jpeg.size, factor)
    return None if decoded is None else turned(decoded, jpeg.orientation)


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
    """By how much a picture may be decoded smaller."""
    return next((factor for factor in _FACTORS if shorter_px // factor >= enough_px), 1)


def _decoder() -> Callable[..., torch.Tensor] | None:
    """torchvision's, while there is one: its decoders are to move to another package."""
    return getattr(torch.ops.image, "decode_jpeg", None)


def _plain_size(jpeg: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG of 8 bits and one or three components, from its frame's header."""
    at = 2
    while at + 10 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, components = jpeg[at + 4], jpeg[at + 9]
            plain = marker in _PLAIN_FRAMES and bits == 8 and components in (1, 3)
            height, width = (int.from_bytes(jpeg[at + n : at + n + 2], "big") for n in (5, 7))
            return (height, width) if plain else None
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None
