"""PNG's own checksums, which Pillow asks for only before the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_START = 8
_FRAME = 12  # bytes of a chunk beside its content: length, name, checksum
_END = b"\0\0\0\0IEND\xaeB`\x82"
_MOST_BYTES = 1 << 30
_STEP_BYTES = 1 << 20


def checked(png: bytes) -> tuple[bytes, list[str]]:
    """The chunks that a viewer reads, and what is wrong with the others: a damaged ancillary one is left out.

    A file that only lacks its end, while its pixels are whole, is given one.

    Raises:
        ValueError: a chunk that the picture depends on fails its checksum, or the file ends early.
    """
    if png.startswith(b"\x89PNG") and png.endswith(_END) and (spans := _sound(png)):
        return png[:spans], []
    kept, flaws, at = [png[:_START]], [], _START
    pixels: list[bytes] = []
    for start, end, name in _chunks(png):
        if not _passes(png, start, end):
            if not name[0] & 0x20:
                raise ValueError(f"its {name.decode()} chunk at byte {start:,} fails its checksum: it is damaged")
            flaws.append(f"its {name.decode()} chunk at byte {start:,} fails its checksum and is passed over")
        else:
            kept.append(png[start:end])
            if name == b"IDAT":
                pixels.append(png[start + 8 : end - 4])
        at = end
        if name == b"IEND":
            return b"".join(kept), flaws
    rest = png[at + 8 :] if png[at + 4 : at + 8] == b"IDAT" else b""
    if not _whole([*pixels, rest]):
        raise ValueError(f"it is truncated: no whole chunk begins at byte {at:,}, and its pixels end early")
    last = struct.pack(">L", len(rest)) + b"IDAT" + rest + struct.pack(">L", zlib.crc32(b"IDAT" + rest))
    return b"".join([*kept, last if rest else b"", _END]), [*flaws, "it lacks its end (IEND); its pixels are whole"]


def _sound(png: bytes) -> int:
    """How long the file is up to its end, if all its chunks pass; 0 if one doesn't, or there is none."""
    for start, end, name in _chunks(png):
        if not _passes(png, start, end):
            return 0
        if name == b"IEND":
            return end
    return 0


def _chunks(png: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Where each whole chunk begins and ends, and its name."""
    at = _START
    while at + _FRAME <= len(png):
        length, name = struct.unpack_from(">L4s", png, at)
        end = at + _FRAME + length
        if end > len(png) or not (name.isalpha() and name.isascii()):
            return
        yield at, end, name
        at = end


def _passes(png: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(png)[start + 4 : end - 4]) == int.from_bytes(png[end - 4 : end], "big")


def _whole(parts: list[bytes]) -> bool:
    """Whether the pixels' stream reaches its end."""
    stream, made = zlib.decompressobj(), 0
    try:
        for part in parts:
            left = part
            while left and not stream.eof and made <= _MOST_BYTES:
                made += len(stream.decompress(left, _STEP_BYTES))
                left = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof
