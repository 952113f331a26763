"""The orientation of an image: from EXIF, wherever the format stores it, or else from XMP.

The precedence is that of Pillow's ImageOps.exif_transpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from breedclf.data.formats import tiff

EXIF_START = b"Exif\0\0"
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_IN_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9])")
_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation (1 to 8) given by an EXIF block, or else by an XMP packet; 1 (upright) if neither has one.

    Source: EXIF 2.32, section 4.6. A damaged block is ignored.
    """
    while exif.startswith(EXIF_START):
        exif = exif.removeprefix(EXIF_START)
    tag = tiff.numbers(exif).get(tiff.ORIENTATION)
    if tag is not None:
        return tag.value if 1 <= tag.value <= 8 else 1
    found = _IN_XMP.search(xmp)
    value = int(found[1]) if found else 1
    return value if 1 <= value <= 8 else 1


def orientation_of(info: Mapping[Any, Any]) -> int:
    """The orientation given by the `info` of an image that Pillow has loaded."""
    exif, xmp = info.get("exif"), info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    raw = [_raw_profile(info.get(f"Raw profile type {kind}")) for kind in ("exif", "APP1", "xmp")]
    if not isinstance(exif, bytes):
        exif = next((each for each in raw[:2] if each and not each.startswith(XMP_START)), b"")
    xmp = xmp or next((each for each in raw[1:] if each and not each.startswith(EXIF_START)), b"")
    return orientation(exif, xmp)


def turned_upright(image: Image.Image, value: int) -> Image.Image:
    """The image turned and mirrored by an EXIF orientation."""
    turn = _UPRIGHT_BY.get(value)
    return image if turn is None else image.transpose(turn)


def _raw_profile(text: object) -> bytes:
    """Decode ImageMagick's text form of a metadata block: its name, its length, and hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""
