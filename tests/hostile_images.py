"""Small images that all differ, and files that only pretend to be images."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_SEED = count()


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as a file of Pillow's format `form`."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photo(
    size: tuple[int, int] = (64, 64), *, mode: str = "RGB", form: str = "JPEG", orientation: int | None = None
) -> bytes:
    """An image unlike every other one."""
    draw = np.random.default_rng(next(_SEED))
    image = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size).convert(mode)
    if orientation is None:
        return encoded(image, form)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, form, exif=exif)


def write(path: Path, **options: Any) -> Path:
    """Write such an image, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo(**options))
    return path


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG file of a few bytes that claims to be huge."""
    return _png(struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0), b"")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    """A whole black PNG file of one bit a pixel, however extreme its shape."""
    rows = height * (1 + (width + 7) // 8)
    return _png(struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0), bytes(rows))


def many_scans(more: int, size: tuple[int, int] = (160, 120), *, progressive: bool = True) -> bytes:
    """A gray JPEG whose last scan is repeated this many times: each one costs a pass over the whole image."""
    jpeg = encoded(Image.new("RGB", size, "grey"), "JPEG", progressive=progressive)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    if not progressive:  # a scan for each component, as JPEG calls them
        last = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + last[14:]
        return jpeg[: jpeg.rindex(b"\xff\xda")] + last * (more + 1) + jpeg[-2:]
    return jpeg[:-2] + last * more + jpeg[-2:]


def _png(header: bytes, pixels: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)
