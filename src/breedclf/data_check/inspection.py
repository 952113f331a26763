"""Inspect one file: whether training can decode it, and what kind of image it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from breedclf.data.images import ImageFacts, read_file, read_image, sniff_format
from breedclf.errors import ImageError, ImageTooLargeError

_NAME = "it"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in one file.

    `fault` is None if the file decodes, `facts` are None if it doesn't; flaws of a file that decodes are part of its
    facts. `digest` is None unless it was requested. `lasting` says whether the same bytes always give this result;
    a denied permission or a lack of memory may be temporary, so such results are not cached.
    """

    fault: Literal["unreadable", "truncated", "too_large"] | None
    detail: str
    facts: ImageFacts | None
    animated: bool = False
    digest: str | None = None
    lasting: bool = True


def inspect_image(path: Path, *, with_digest: bool) -> Inspection:
    """Read and decode one file; errors are part of the result and never raised."""
    try:
        data = read_file(path)
    except ImageError as error:
        fault: Literal["too_large", "unreadable"]
        fault = "too_large" if isinstance(error, ImageTooLargeError) else "unreadable"
        return Inspection(fault, str(error).replace(str(path), _NAME, 1), None, lasting=False)
    digest = digest_of(data) if with_digest else None
    try:
        image, facts = read_image(data, _NAME, color="srgb", thorough=True)
    except ImageTooLargeError as error:
        return Inspection("too_large", str(error), None, digest=digest)
    except ImageError as error:
        cut = is_cut_short(data, str(error))
        return Inspection("truncated" if cut else "unreadable", str(error), None, digest=digest)
    except MemoryError:
        detail = f"it can't be decoded: {len(data):,} bytes need more memory than there is"
        return Inspection("too_large", detail, None, digest=digest, lasting=False)
    if not any(kind == "blank" for kind, _ in facts.flaws) and (one := only_color(image)) is not None:
        facts = replace(facts, flaws=(*facts.flaws, ("blank", f"every pixel of it is {one}")))
    return Inspection(None, "", facts, is_animated(data, facts.format_name), digest)


def only_color(image: Image.Image) -> tuple[int, ...] | None:
    """The color of an RGB image that consists of one color; None for any other image."""
    extrema = image.getextrema()
    low, high = (tuple(int(band[at]) for band in extrema) for at in (0, 1))  # type: ignore[index]
    return low if low == high else None


def digest_of(data: bytes) -> str:
    """A hash that only equal files share."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def is_cut_short(data: bytes, reason: str) -> bool:
    """Whether a file that can't be decoded ends earlier than its format requires."""
    match sniff_format(data):
        case "JPEG":
            cut = not data.rstrip(b"\0\r\n ").endswith(b"\xff\xd9")
        case "PNG":
            cut = b"IEND" not in data[-64:]
        case "GIF":
            cut = not data.rstrip(b"\0").endswith(b";")
        case "WebP":
            cut = len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "BMP":
            cut = len(data) < int.from_bytes(data[2:6], "little")
        case "TIFF":
            cut = False
        case _:
            return False
    return cut or "truncated" in reason.lower()


def is_animated(data: bytes, format_name: str) -> bool:
    """Whether an image has more than one frame, without decoding them."""
    match format_name:
        case "GIF":  # GIF has no marker that all animations share
            with Image.open(BytesIO(data), formats=["GIF"]) as image:
                return bool(getattr(image, "is_animated", False))
        case "PNG":
            return b"acTL" in data[:1024]
        case "WebP":
            return data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)
    return False
