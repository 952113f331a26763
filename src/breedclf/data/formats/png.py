"""PNG's own checksums, which Pillow asks for only before the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_START = 8
_FRAME = 12  # bytes of a chunk beside its content: length, name, checksum
_END = b"\0\0\0\0IEND\xaeB`\x82"


def checked(png: bytes) -> tuple[bytes, list[str]]:
    """The chunks that a viewer reads, and what is wrong with the others: a damaged ancillary one is left out.

    A file that lacks its end is given one: whether all of its pixels came before that, their decoder sees.

    Raises:
        ValueError: a chunk that the pixels depend on fails its checksum.
    """
    kept, flaws, at = [(0, _START)], [], _START
    for start, end, name in _chunks(png):
        if _passes(png, start, end):
            kept.append((start, end))
        elif not name[0] & 0x20:
            raise ValueError(f"its {name.decode()} chunk at byte {start:,} fails its checksum: it is damaged")
        else:
            flaws.append(f"its {name.decode()} chunk at byte {start:,} fails its checksum and is passed over")
        at = end
        if name == b"IEND":
            return b"".join(png[first:last] for first, last in kept) if flaws else png[:end], flaws
    rest = png[at + 8 :] if png[at + 4 : at + 8] == b"IDAT" else b""
    cut = struct.pack(">L", len(rest)) + b"IDAT" + rest + struct.pack(">L", zlib.crc32(b"IDAT" + rest))
    chunks = b"".join(png[first:last] for first, last in kept)
    return chunks + (cut if rest else b"") + _END, [*flaws, "it lacks its end (IEND); its pixels are whole"]


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
