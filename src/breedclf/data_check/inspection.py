"""One file: does it decode as a training would decode it, and what is it?"""

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
class Look:
    """What one file turned out to be.

    `fault` is None when it decodes, and `facts` are None when it doesn't. `digest` is None unless it was asked for.
    `lasting` says whether the same bytes would always turn out so: a denied permission or a lack of memory may pass.
    What is wrong with a file that decodes all the same stands among its facts.
    """

    fault: Literal["unreadable", "truncated", "too_large"] | None
    detail: str
    facts: ImageFacts | None
    animated: bool = False
    digest: str | None = None
    lasting: bool = True


def look_at(path: Path, *, with_digest: bool) -> Look:
    """Read and decode one file; whatever is wrong with it is told, never raised."""
    try:
        data = read_file(path)
    except ImageError as error:
        fault: Literal["too_large", "unreadable"]
        fault = "too_large" if isinstance(error, ImageTooLargeError) else "unreadable"
        return Look(fault, str(error).replace(str(path), _NAME, 1), None, lasting=False)
    digest = digest_of(data) if with_digest else None
    try:
        picture, facts = read_image(data, _NAME, color="srgb", thorough=True)
    except ImageTooLargeError as error:
        return Look("too_large", str(error), None, digest=digest)
    except ImageError as error:
        cut = is_cut_short(data, str(error))
        return Look("truncated" if cut else "unreadable", str(error), None, digest=digest)
    except MemoryError:
        detail = f"it can't be decoded: {len(data):,} bytes unpack to more than there is memory"
        return Look("too_large", detail, None, digest=digest, lasting=False)
    if not any(kind == "blank" for kind, _ in facts.flaws) and (one := only_color(picture)) is not None:
        facts = replace(facts, flaws=(*facts.flaws, ("blank", f"every pixel of it is {one}")))
    return Look(None, "", facts, is_animated(data, facts.format_name), digest)


def only_color(picture: Image.Image) -> tuple[int, ...] | None:
    """The color of an RGB picture that has no other."""
    extrema = picture.getextrema()
    low, high = (tuple(int(band[at]) for band in extrema) for at in (0, 1))  # type: ignore[index]
    return low if low == high else None


def digest_of(data: bytes) -> str:
    """What equal files have in common."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def is_cut_short(data: bytes, reason: str) -> bool:
    """Whether a file that can't be decoded ends before its format says it should."""
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
    """Whether an image has frames beyond the first, told without decoding them."""
    match format_name:
        case "GIF":  # a frame need not begin with a mark
            with Image.open(BytesIO(data), formats=["GIF"]) as image:
                return bool(getattr(image, "is_animated", False))
        case "PNG":
            return b"acTL" in data[:1024]
        case "WebP":
            return data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)
    return False
