"""TIFF files made by hand, for what Pillow doesn't write."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT, _LONG = 3, 4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = 273, 274, 277, 278, 279, 284
COLOR_MAP, EXTRA_SAMPLES, SAMPLE_FORMAT = 320, 338, 339


def tiff(
    samples: NDArray[Any], bits: int, photometric: int, *, order: str = "<", tags: dict[int, list[int]] | None = None
) -> bytes:
    """An uncompressed image of one strip from samples [H, W] or [H, W, channels]."""
    height, width, channels = samples.shape if samples.ndim == 3 else (*samples.shape, 1)
    data = packed(samples.reshape(height, width * channels), bits, order)
    values = {
        WIDTH: [width],
        HEIGHT: [height],
        BITS: [bits] * channels,
        COMPRESSION: [1],
        PHOTOMETRIC: [photometric],
        STRIPS: [8],
        SAMPLES: [channels],
        ROWS: [height],
        COUNTS: [len(data)],
        **(tags or {}),
    }
    return file_of(data, values, order)


def packed(rows: NDArray[Any], bits: int, order: str = "<") -> bytes:
    """Rows of samples as bytes; each row starts with a new byte."""
    if bits in (8, 16, 32, 64):
        kind = "f" if rows.dtype.kind == "f" else "i" if rows.dtype.kind == "i" and (rows < 0).any() else "u"
        return rows.astype(f"{order}{kind}{bits // 8}").tobytes()
    each = (rows.astype(np.uint32)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def file_of(data: bytes, values: dict[int, list[int]], order: str = "<") -> bytes:
    """The strip, and then the directory with these tags."""
    data += bytes(len(data) % 2)
    start = 8 + len(data)
    beyond = start + 2 + 12 * len(values) + 4
    entries, extra = b"", b""
    for tag, numbers in sorted(values.items()):
        kind, letter = (_LONG, "L") if tag in (STRIPS, COUNTS, WIDTH, HEIGHT) else (_SHORT, "H")
        content = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(content) > 4:
            place = struct.pack(f"{order}L", beyond + len(extra))
            extra += content + bytes(len(content) % 2)
        else:
            place = content + bytes(4 - len(content))
        entries += struct.pack(f"{order}HHL", tag, kind, len(numbers)) + place
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}L", start)
    return head + data + struct.pack(f"{order}H", len(values)) + entries + bytes(4) + extra
