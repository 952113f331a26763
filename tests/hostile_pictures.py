"""Small pictures that all differ, and files that only pretend to be pictures."""

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
    """A picture as a file of Pillow's format `form`."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photo(
    size: tuple[int, int] = (64, 64), *, mode: str = "RGB", form: str = "JPEG", orientation: int | None = None
) -> bytes:
    """A picture unlike every other one."""
    draw = np.random.default_rng(next(_SEED))
    image = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size).convert(mode)
    if orientation is None:
        return encoded(image, form)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, form, exif=exif)


def write(path: Path, **options: Any) -> Path:
    """Write such a picture, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo(**options))
    return path


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG file of a few bytes that claims to be huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
