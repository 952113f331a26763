"""Estimate the cost of decoding an image from its headers, before decoding, since most decoders can't be interrupted.

A small file can keep a decoder busy for minutes: thousands of scans over the same pixels, millions of empty chunks, an
image one pixel wide. Every limit here is far above what cameras, browsers and editors write.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from breedclf.data.formats.jpeg import MAX_SCANS
from breedclf.errors import ImageTooCostlyError, ImageTooLargeError

MAX_SIDE_PX = 500_000
MAX_WORK = 1_500_000_000
"""Limit in pixel visits; one takes about a nanosecond, so the most costly image takes some seconds on one core."""

_MAX_PARTS, _BYTES_A_PART = (
    4096,
    512,
)  # of segments or chunks: 4096, plus one per 512 bytes of the file
_MAX_GIF_BLOCKS = 20_000  # before the first frame, of 255 bytes each
_MAX_JUNK_BYTES = 1 << 16
_SCAN_VISITS = 5_000  # cost of a scan besides its pixels
_STRIP_VISITS = 2_000
_RLE_VISITS = 100  # per byte: Pillow decodes these in Python
_SLOW = 4  # factor of pixels outside baseline JPEGs
_SCAN = re.compile(rb"\xff\xda")


class ImageCost(NamedTuple):
    """Width and height in pixels, and the work of decoding in pixel visits; all 0 if the header is unreadable."""

    width: int
    height: int
    work: int


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    """Why the file must not be decoded."""


def check_cost(data: bytes, format_name: str, name: str, *, max_pixels: int) -> ImageCost:
    """Estimate the cost of an image file; a file whose headers are damaged passes, since its decoder refuses it.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels.
        ImageTooCostlyError: a side exceeds MAX_SIDE_PX, or decoding takes more than MAX_WORK.
    """
    try:
        width, height, work = _COSTS[format_name](data)
    except _Refusal as refusal:
        raise ImageTooCostlyError(f"{name} can't be decoded: {refusal}; save it again with an image editor") from None
    except (struct.error, IndexError):
        return ImageCost(0, 0, 0)
    if width * height > max_pixels:
        raise ImageTooLargeError(f"{name} can't be decoded: {width:,} x {height:,} is more than {max_pixels:,} pixels")
    if max(width, height) > MAX_SIDE_PX:
        raise ImageTooCostlyError(
            f"{name} can't be decoded: {width:,} x {height:,} pixels have a side of more than {MAX_SIDE_PX:,}"
        )
    if work > MAX_WORK:
        raise ImageTooCostlyError(
            f"{name} can't be decoded: {width:,} x {height:,} pixels in this encoding take too long "
            f"({work / MAX_WORK:.1f} times the limit); save it again with an image editor"
        )
    return ImageCost(width, height, work)


def is_too_costly(data: bytes, format_name: str, *, max_pixels: int) -> bool:
    """Whether `check_cost` refuses it."""
    try:
        check_cost(data, format_name, "", max_pixels=max_pixels)
    except ImageTooLargeError:
        return True
    return False


def _jpeg(data: bytes) -> ImageCost:
    at, parts, junk, most = 2, 0, 0, _most_parts(data)
    width = height = components = 0
    several_scans, slow = False, 1
    while True:
        start = data.find(b"\xff", at)
        if start < 0:
            return ImageCost(width, height, 0)
        marker = data[start + 1]
        junk += start - at
        if junk > _MAX_JUNK_BYTES:
            raise _Refusal(f"more than {_MAX_JUNK_BYTES:,} bytes between its segments are junk")
        if marker in (0x00, 0xFF):
            junk, at = junk + 1, start + 1
            continue
        parts = _one_more(parts, most, "segments")
        if marker == 0xDA:
            break
        if marker in (0x01, *range(0xD0, 0xDA)):
            at = start + 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            rows, columns = struct.unpack_from(">HH", data, start + 5)
            width, height, components = max(width, columns), max(height, rows), data[start + 9]
            several_scans = several_scans or marker not in (0xC0, 0xC1)
            slow = _SLOW if marker > 0xC3 else slow
        at = start + 2 + max(2, int.from_bytes(data[start + 2 : start + 4], "big"))
    scans = 1
    if several_scans or data[start + 4] != components:
        scans = sum(1 for _ in islice(_SCAN.finditer(data, start), MAX_SCANS + 1))
    if scans > MAX_SCANS:
        raise _Refusal(f"it has more than {MAX_SCANS} scans")
    pixels = width * height
    return ImageCost(width, height, slow * (pixels if scans == 1 else pixels + scans * (pixels + _SCAN_VISITS)))


def _png(data: bytes) -> ImageCost:
    width, height, bits = struct.unpack_from(">LLB", data, 16)
    at, parts, most = 8, 0, _most_parts(data)
    while at + 8 <= len(data):
        parts = _one_more(parts, most, "chunks")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return ImageCost(width, height, _SLOW * (2 if bits == 16 else 1) * width * height)


def _webp(data: bytes) -> ImageCost:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    return ImageCost(width, height, _SLOW * width * height)


def _gif(data: bytes) -> ImageCost:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, parts, junk = 13 + _color_bytes(flags), 0, 0
    while (kind := data[at]) != 0x2C:
        if kind != 0x21:
            at, junk = at + 1, junk + 1
            if junk > _MAX_JUNK_BYTES:
                raise _Refusal(f"more than {_MAX_JUNK_BYTES:,} bytes before its first frame are junk")
            continue
        at += 2
        while (size := data[at]) != 0:
            parts = _one_more(parts, _MAX_GIF_BLOCKS, "blocks before its first frame")
            at += 1 + size
        at += 1
        parts = _one_more(parts, _MAX_GIF_BLOCKS, "blocks before its first frame")
    left, top, columns, rows = struct.unpack_from("<HHHH", data, at + 1)
    width, height = max(width, left + columns), max(height, top + rows)
    return ImageCost(width, height, _SLOW * width * height)


def _bmp(data: bytes) -> ImageCost:
    (header,) = struct.unpack_from("<L", data, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return ImageCost(width, height, width * height)
    width, height, _, _, compression = struct.unpack_from("<llHHL", data, 18)
    in_runs = compression in (1, 2)
    pixels = abs(width) * abs(height)
    return ImageCost(abs(width), abs(height), pixels + (_RLE_VISITS * len(data) if in_runs else 0))


def _tiff(data: bytes) -> ImageCost:
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    entry, first, where = (f"{order}HHQ", 8, f"{order}Q") if big else (f"{order}HHL", 2, f"{order}L")
    (at,) = struct.unpack_from(where, data, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)
    values, strips, claimed = {256: 0, 257: 0, 259: 0}, 0, 0
    for number in range(min(entries, 1 << 16)):
        place = at + first + number * (20 if big else 12)
        tag, kind, count = struct.unpack_from(entry, data, place)
        claimed += count * _TIFF_BYTES.get(kind, 1)
        if tag in values:
            (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "L"), data, place + (12 if big else 8))
        elif tag in (273, 324):
            strips = max(strips, count)
    if claimed > 4 * len(data) + (1 << 20):
        raise _Refusal(f"its tags claim {claimed:,} bytes, of {len(data):,} in the file")
    if values[259] in (6, 7) and sum(1 for _ in islice(_SCAN.finditer(data), MAX_SCANS + strips + 1)) > (
        MAX_SCANS + strips
    ):
        raise _Refusal(f"it has more than {MAX_SCANS} scans")
    pixels = values[256] * values[257]
    return ImageCost(values[256], values[257], _SLOW * pixels + _STRIP_VISITS * strips)


def _most_parts(data: bytes) -> int:
    return _MAX_PARTS + len(data) // _BYTES_A_PART


def _one_more(parts: int, most: int, name: str) -> int:
    if parts >= most:
        raise _Refusal(f"it has more than {most:,} {name}")
    return parts + 1


def _color_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


_TIFF_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_COSTS: dict[str, Callable[[bytes], ImageCost]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
}
