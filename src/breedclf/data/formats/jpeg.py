"""The structure of a JPEG file: its segments, where its scans are, and whether any of them is missing.

No pixel is decoded here. Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from breedclf.data.formats.orientation import EXIF_START, XMP_START

END = b"\xff\xd9"
PROGRESSIVE = 0xC2
MAX_SCANS = 100  # an ordinary progressive JPEG has 10, at most 15
_SCAN, _EOI = 0xDA, 0xD9
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_ICC_START = b"ICC_PROFILE\0"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # not a stuffed byte or a restart marker
_COEFFICIENTS = 64


class Parts(NamedTuple):
    """The segments before the first scan.

    `frame` is the marker of the frame header (0 if there is none), `size` is (height, width), and `scan` is the offset
    of the first scan header (0 if there is none). `metadata_spans` are the segments that hold EXIF or XMP.
    """

    frame: int = 0
    bits: int = 0
    components: bytes = b""
    size: tuple[int, int] = (0, 0)
    scan: int = 0
    exif: bytes = b""
    metadata_spans: tuple[tuple[int, int], ...] = ()
    xmp: bytes = b""
    icc: bytes = b""


class Scan(NamedTuple):
    """One scan: its components, its band of coefficients, and the lowest bit that it encodes."""

    components: bytes
    first: int
    last: int
    bit: int


def parts(jpeg: bytes) -> Parts:
    """Read the segments before the first scan, up to the first one that is damaged.

    The cost estimate walks the segments on its own: it has to skip junk between them, as libjpeg does.
    """
    frame, bits, components, size, scan = 0, 0, b"", (0, 0), 0
    exif, xmp, spans, profile = b"", b"", [], []
    at, end = 2, len(jpeg)
    while at + 4 < end and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        if marker == _SCAN:
            scan = at
            break
        following = at + 2 + (jpeg[at + 2] << 8) + jpeg[at + 3]
        if marker == 0xE1:
            if jpeg.startswith(EXIF_START, at + 4):
                exif = exif or jpeg[at + 4 : following]
                spans.append((at, min(following, end)))
            elif jpeg.startswith(XMP_START, at + 4):
                xmp = xmp or jpeg[at + 4 : following]
                spans.append((at, min(following, end)))
        elif marker == 0xE2:
            if jpeg.startswith(_ICC_START, at + 4):
                profile.append(jpeg[at + 16 : following])
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES and at + 10 <= end:
            frame, bits = marker, jpeg[at + 4]
            size = (jpeg[at + 5] << 8 | jpeg[at + 6], jpeg[at + 7] << 8 | jpeg[at + 8])
            components = jpeg[at + 10 : at + 10 + 3 * jpeg[at + 9] : 3]
        at = following
    icc = b"".join(each[2:] for each in sorted(profile))
    return Parts(frame, bits, components, size, scan, exif, tuple(spans), xmp, icc)


def without_metadata(jpeg: bytes, about: Parts) -> bytes:
    """The file without EXIF and XMP: Pillow would warn about damaged blocks, and the image must not be turned twice."""
    if not about.metadata_spans:
        return jpeg
    pieces, start = [], 0
    for first, end in about.metadata_spans:
        pieces.append(jpeg[start:first])
        start = end
    return b"".join([*pieces, jpeg[start:]])


def in_one_scan(jpeg: bytes, about: Parts) -> bool:
    """Whether the first scan holds all components completely, as in most files."""
    return about.frame != PROGRESSIVE and about.scan > 0 and jpeg[about.scan + 4] == len(about.components)


def scans(jpeg: bytes, about: Parts) -> tuple[list[Scan], int]:
    """The scans, and the offset of the end marker (-1 if there is none).

    Raises:
        ValueError: there are more than MAX_SCANS scans.
    """
    found: list[Scan] = []
    at = about.scan
    while at + 4 <= len(jpeg) and jpeg[at + 1] != _EOI:
        if jpeg[at + 1] == _SCAN:
            count = jpeg[at + 4]
            band = jpeg[at + 5 + 2 * count : at + 8 + 2 * count]
            if len(band) < 3:
                return found, -1
            found.append(Scan(jpeg[at + 5 : at + 5 + 2 * count : 2], band[0], band[1], band[2] & 15))
            if len(found) > MAX_SCANS:
                raise ValueError(f"it has more than {MAX_SCANS} scans")
        marker = _MARKER.search(jpeg, at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big"))
        if marker is None:
            return found, -1
        at = marker.start()
    return found, at if jpeg[at : at + 2] == END else -1


def missing(about: Parts, found: list[Scan]) -> int:
    """How many coefficients of the components aren't encoded down to their last bit; 0 for a complete file."""
    if about.frame != PROGRESSIVE:
        return len(set(about.components) - {each for scan in found for each in scan.components}) * _COEFFICIENTS
    done = {
        (component, coefficient)
        for scan in found
        if not scan.bit
        for component in scan.components
        for coefficient in range(scan.first, min(scan.last, _COEFFICIENTS - 1) + 1)
    }
    return len(set(about.components)) * _COEFFICIENTS - len(done)
