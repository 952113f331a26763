"""PNG's checksums, which Pillow verifies only for the chunks before the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_START = 8
_FRAME = 12  # bytes of a chunk besides its content: length, name, checksum
_END = b"\0\0\0\0IEND\xaeB`\x82"


def checked(png: bytes) -> tuple[bytes, list[str]]:
    """The file without damaged ancillary chunks, and the flaws that were found.

    A missing end is added; whether all pixels come before it is left to the decoder.

    Raises:
        ValueError: a chunk that the pixels depend on has a wrong checksum.
    """
    chunks, flaws, at = [(0, _START)], [], _START
    for start, end, name in _chunks(png):
        if _passes(png, start, end):
            chunks.append((start, end))
        elif not name[0] & 0x20:
            raise ValueError(f"its {name.decode()} chunk at byte {start:,} has a wrong checksum: it is damaged")
        else:
            flaws.append(f"its {name.decode()} chunk at byte {start:,} has a wrong checksum and is ignored")
        at = end
        if name == b"IEND":
            return b"".join(png[first:last] for first, last in chunks) if flaws else png[:end], flaws
    rest = png[at + 8 :] if png[at + 4 : at + 8] == b"IDAT" else b""
    cut = struct.pack(">L", len(rest)) + b"IDAT" + rest + struct.pack(">L", zlib.crc32(b"IDAT" + rest))
    whole = b"".join(png[first:last] for first, last in chunks)
    return whole + (cut if rest else b"") + _END, [*flaws, "its end (IEND) is missing; its pixels are complete"]


def _chunks(png: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of each complete chunk."""
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
