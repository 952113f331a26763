"""Images from foreign bytes: any common format comes out RGB, upright and fully decoded, or is refused with a reason.

The format is told by the content, never by the file's name, and nothing of Pillow's process-wide state is changed.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from breedclf.data.formats import tiff
from breedclf.data.formats.color import Color, ProfileError, lab_to_srgb, to_srgb
from breedclf.data.formats.cost import check_cost
from breedclf.data.formats.loading import FORMATS, Flaw, load
from breedclf.data.formats.orientation import orientation_of, turned_upright
from breedclf.errors import ImageError, ImageTooLargeError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Lower-case suffixes that mark a file as an image when a folder is scanned."""

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Images with more pixels are refused before they are decoded (89,478,485, where Pillow would begin to warn)."""

MAX_FILE_BYTES = 1 << 30
"""Longer files are refused unread: no image within MAX_PIXELS needs so many bytes."""

_URL = re.compile(r"(https?:|ftp:|s3:|gs:|file:)/+(?=[^/])|data:image/", re.IGNORECASE)
_SHOWN_OF_URL = 120


@dataclass(frozen=True)
class ImageFacts:
    """What an image was in its file: Pillow's name of the mode, its pixels, its EXIF orientation (1 to 8).

    `converted` says whether its colors were far from sRGB and were converted, `flaws` what is wrong with it.
    """

    format_name: str
    mode: str
    width: int
    height: int
    orientation: int
    converted: bool = False
    flaws: tuple[Flaw, ...] = ()


def open_image(source: Path | bytes, *, name: str | None = None, color: Color = "as_stored") -> Image.Image:
    """Decode an image into an upright RGB image.

    Transparent parts come out white, 16-bit greys are scaled to 8 bits, and of an animation the first frame is taken.
    Safe to call from several threads.

    Args:
        source: a file, or the bytes of one: JPEG (MPO too), PNG, WebP, GIF, BMP or TIFF.
        name: what errors call it, where that isn't the file's path.
        color: whether colors far from sRGB are converted to it.

    Returns:
        A loaded image of mode RGB that holds no file open and carries no metadata but the ICC profile of its colors,
        if it has one that wasn't applied.

    Raises:
        ImageTooLargeError: it has more than MAX_PIXELS pixels or MAX_FILE_BYTES bytes.
        ImageError: it can't be read, is in another format, or is damaged; the message names the file.

    Example:
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("L", (4, 2), 128).save(file, "PNG")
        >>> open_image(file.getvalue()).getpixel((0, 0))
        (128, 128, 128)
    """
    name = name or ("the given bytes" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    return read_image(data, name, color=color)[0]


def read_image(
    data: bytes,
    name: str = "the given bytes",
    *,
    max_pixels: int = MAX_PIXELS,
    color: Color = "as_stored",
    thorough: bool = False,
) -> tuple[Image.Image, ImageFacts]:
    """As `open_image`, with what the image was before; `name` is what an error calls it.

    With `thorough` a JPEG is decoded a second time, to notice what decoders pass over in silence.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels, or costs too much to decode.
        ImageError: it is in another format, or is damaged.
    """
    if not data:
        raise ImageError(f"{name} can't be decoded: it is empty (0 bytes)")
    format_name = sniff_format(data)
    if format_name is None:
        known = ", ".join(FORMATS)
        raise ImageError(f"{name} can't be decoded: it is none of {known} (it starts with {data[:12]!r})")
    check_cost(data, format_name, name, max_pixels=max_pixels)
    return _decode(data, format_name, name, max_pixels, color, thorough=thorough)


def sniff_format(data: bytes) -> str | None:
    """Name of the format that the first bytes tell (JPEG, PNG, WebP, GIF, BMP or TIFF), or None for any other."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    return "TIFF" if data.startswith(tiff.STARTS) else None


def upright_rgb(image: Image.Image, *, color: Color = "as_stored") -> Image.Image:
    """Turn any Pillow image upright by its metadata, put it over white where it is transparent, and make it RGB.

    Raises:
        ImageError: it was opened lazily and is damaged, or its pixels have no agreed white
            level (floats, and integers beyond 16 bits).
    """
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"an image opened with Pillow can't be decoded: {error or type(error).__name__}") from error
    value = 1 if isinstance(image, TiffImageFile) else orientation_of(image.info)  # Pillow turns TIFF while it loads
    return turned_upright(_rgb(image, color)[0], value)


def image_from_array(array: NDArray[np.uint8]) -> Image.Image:
    """An image from uint8 [height, width] or [height, width, 3 or 4].

    Raises:
        ImageError: the array has another type or shape.
    """
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in array.shape:
        raise ImageError(
            f"an array must be uint8 [height, width] or [height, width, 3 or 4], not {array.dtype} "
            f"{list(array.shape)}; pass several images as a list"
        )
    return Image.fromarray(array)


def as_path(image: str | Path) -> Path:
    """The path of an image file.

    Raises:
        ImageError: it is a URL; a path made of one has lost a slash.
    """
    text = str(image)
    if (scheme := _URL.match(text)) is None:
        return Path(image)
    mangled = scheme[1] is not None and not text.startswith(scheme[1] + "//")
    shown = f"{scheme[1]}//{text[scheme.end() :]}" if mangled else text
    shown = shown if len(shown) <= _SHOWN_OF_URL else shown[:_SHOWN_OF_URL] + "..."
    raise ImageError(f"{shown} can't be read: it is a URL, not a file; download it first, and give the file's path")


def read_file(path: Path) -> bytes:
    """The bytes of a regular file: opening a pipe or a device could wait for ever.

    Raises:
        ImageTooLargeError: it has more than MAX_FILE_BYTES bytes.
        ImageError: it can't be read, or is no regular file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ImageError(f"{path} can't be read: it is {kind}, not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageTooLargeError(
                f"{path} can't be decoded: {status.st_size:,} bytes are more than {MAX_FILE_BYTES:,}"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        as_path(path)
        raise ImageError(f"{path} can't be read: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{path} can't be read: {reason}") from error


def _decode(
    data: bytes, format_name: str, name: str, max_pixels: int, color: Color, *, thorough: bool
) -> tuple[Image.Image, ImageFacts]:
    try:
        raw = load(data, format_name, max_pixels, thorough=thorough)
        rgb, converted, flaws = _rgb(raw.image, color)
        facts = ImageFacts(format_name, raw.mode, *raw.size, raw.orientation, converted, (*raw.flaws, *flaws))
        upright, profile = turned_upright(rgb, raw.orientation), raw.image.info.get("icc_profile")
        upright.info.clear()  # turned already: nobody is to turn it again by its EXIF block
        if profile and not converted and raw.image.mode in ("RGB", "RGBA") and not flaws:
            upright.info["icc_profile"] = profile
        return upright, facts
    except ImageTooLargeError as error:
        raise ImageTooLargeError(f"{name} can't be decoded: {error}") from error
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name} can't be decoded: it has more than {MAX_PIXELS:,} pixels") from error
    except ImageError as error:
        raise ImageError(f"{name} can't be decoded: {error}") from error
    except Exception as error:  # fed with foreign bytes, a decoder may raise anything
        raise ImageError(f"{name} can't be decoded as {format_name}: {error or type(error).__name__}") from error


def _rgb(image: Image.Image, color: Color) -> tuple[Image.Image, bool, tuple[Flaw, ...]]:
    """Mode RGB, in as few passes as the mode allows; whether colors were converted, and what is wrong with it."""
    info, stored = image.info, image
    flaws: list[Flaw] = []
    if (about := tiff.greys_of(image)) is not None:
        stored = tiff.levels(image, about)
    elif image.mode in ("I", "F") or image.mode.startswith("I;16"):
        stored = _eight_bit_grey(image)
    elif image.mode == "LAB":
        stored, info = lab_to_srgb(image), {}
    shown = stored
    if color == "srgb":
        try:
            shown = to_srgb(stored, info)
        except ProfileError as error:
            flaws.append(("broken_profile", f"{error}; it is read as sRGB"))
    converted = shown is not stored
    if shown.has_transparency_data:
        see_through = shown.convert("RGBA")
        if see_through.getchannel("A").getextrema() == (0, 0):
            flaws.append(("blank", "it is transparent everywhere, and comes out white"))
        white = Image.new("RGB", image.size, "white")
        white.paste(see_through, mask=see_through)
        return white, converted, tuple(flaws)
    return shown if shown.mode == "RGB" else shown.convert("RGB"), converted, tuple(flaws)


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    """16-bit greys scaled so that 65,535 becomes 255; Pillow's own conversion would clip them at 255."""
    levels = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 65_535:
        kind = "floating-point" if image.mode == "F" else "integer"
        raise ImageError(f"32-bit {kind} pixels have no agreed white level; save it with 8 or 16 bits a channel")
    grey = ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(see_through := image.info.get("transparency"), int):
        grey[levels == see_through] = 255
    return Image.fromarray(grey)
