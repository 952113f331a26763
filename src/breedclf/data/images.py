"""Decode untrusted image files: any common format becomes a complete, upright RGB image, or raises an `ImageError`.

The format is detected from the content, never from the file name, and Pillow's global state isn't changed.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from os import PathLike
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
from breedclf.files.paths import StrPath

ImageLike = str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a PIL image, or a uint8 array [height, width] or [height, width, 3 or 4]."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Lower-case suffixes of the files that are read as images when a folder is scanned."""

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Images with more pixels are refused before they are decoded (89,478,485, the number where Pillow starts to warn)."""

MAX_FILE_BYTES = 1 << 30
"""Larger files are refused without reading them: no image of at most MAX_PIXELS pixels needs as many bytes."""

_URL = re.compile(r"(https?:|ftp:|s3:|gs:|file:)/+(?=[^/])|data:image/", re.IGNORECASE)
_SHOWN_OF_URL = 120


@dataclass(frozen=True)
class ImageFacts:
    """An image as its file stores it: format, Pillow's mode, size in pixels, EXIF orientation (1 to 8).

    `converted` says whether its colors were far from sRGB and were converted; `flaws` lists what is wrong with it.
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

    Transparent parts become white, 16-bit grayscale is scaled to 8 bits, and of an animation the first frame is used.
    Safe to call from several threads.

    Args:
        source: a file or its bytes: JPEG (also MPO), PNG, WebP, GIF, BMP or TIFF.
        name: the name of the image in errors (default: the file's path).
        color: `srgb` converts colors that are far from sRGB.

    Returns:
        A loaded image of mode RGB that keeps no file open. It keeps an ICC profile that wasn't applied.

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


def pillow_image(image: ImageLike, name: str, *, color: Color = "as_stored") -> Image.Image:
    """Any image as an upright RGB image of Pillow; `name` and `color` as in `open_image`.

    Raises:
        ImageError: it can't be read, or its type or shape isn't that of an image.
    """
    match image:
        case bytes() | bytearray():
            return open_image(bytes(image), name=name, color=color)
        case Image.Image():
            return upright_rgb(image, color=color)
        case np.ndarray():
            try:
                return upright_rgb(image_from_array(image))
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from error
        case str() | PathLike():
            return open_image(Path(image), name=name, color=color)
    raise ImageError(f"{name} must be a path, bytes, a PIL image or a uint8 array, not {type(image).__name__}")


def read_image(
    data: bytes,
    name: str = "the given bytes",
    *,
    max_pixels: int = MAX_PIXELS,
    color: Color = "as_stored",
    thorough: bool = False,
) -> tuple[Image.Image, ImageFacts]:
    """Decode as `open_image` does, and also return what the file stored; `name` is the image's name in errors.

    With `thorough`, a JPEG is decoded a second time to detect damage that decoders ignore.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels, or takes too much work to decode.
        ImageError: it is in another format, or is damaged.
    """
    if not data:
        raise ImageError(f"{name} can't be decoded: it is empty (0 bytes)")
    format_name = sniff_format(data)
    if format_name is None:
        formats = ", ".join(FORMATS)
        raise ImageError(f"{name} can't be decoded: it is none of {formats} (it starts with {data[:12]!r})")
    check_cost(data, format_name, name, max_pixels=max_pixels)
    return _decode(data, format_name, name, max_pixels, color, thorough=thorough)


def sniff_format(data: bytes) -> str | None:
    """The format of a file by its first bytes: JPEG, PNG, WebP, GIF, BMP or TIFF; None for any other."""
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
    """Turn a Pillow image upright by its metadata, blend transparent parts with white, and convert it to RGB.

    Raises:
        ImageError: it was opened lazily and is damaged, or its pixels have no defined white level (floats, and integers
            of more than 16 bits).
    """
    load_opened(image)
    value = (
        1 if isinstance(image, TiffImageFile) else orientation_of(image.info)
    )  # Pillow rotates TIFF itself while loading
    return turned_upright(_rgb(image, color)[0], value)


def load_opened(image: Image.Image) -> None:
    """Load the pixels of an image that Pillow opened lazily.

    Raises:
        ImageError: it is damaged.
    """
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"an image opened with Pillow can't be decoded: {error or type(error).__name__}") from error


def image_from_array(array: NDArray[np.uint8]) -> Image.Image:
    """An image from a uint8 array [height, width] or [height, width, 3 or 4].

    Raises:
        ImageError: the array has another dtype or shape.
    """
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in array.shape:
        raise ImageError(
            f"an array must be uint8 [height, width] or [height, width, 3 or 4], not {array.dtype} "
            f"{list(array.shape)}; pass several images as a list"
        )
    return Image.fromarray(array)


def as_path(image: StrPath) -> Path:
    """The path of an image file.

    Raises:
        ImageError: it is a URL; a `Path` made from a URL has lost a slash and is recognized, too.
    """
    text = os.fspath(image)
    if (scheme := _URL.match(text)) is None:
        return Path(image)
    mangled = scheme[1] is not None and not text.startswith(scheme[1] + "//")
    shown = f"{scheme[1]}//{text[scheme.end() :]}" if mangled else text
    shown = shown if len(shown) <= _SHOWN_OF_URL else shown[:_SHOWN_OF_URL] + "..."
    raise ImageError(f"{shown} can't be read: it is a URL, not a file; download it first, and give the file's path")


def read_file(path: Path) -> bytes:
    """Read a regular file; pipes and devices are refused, since opening one could block forever.

    Raises:
        ImageTooLargeError: it has more than MAX_FILE_BYTES bytes.
        ImageError: it can't be read, or isn't a regular file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{path} can't be read: it is a folder, not a file; give the images in it")
            raise ImageError(f"{path} can't be read: it is a pipe, socket or device, not a file")
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
        upright.info.clear()  # it is upright now and must not be rotated again by its EXIF block
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
    except Exception as error:  # given untrusted bytes, a decoder may raise anything
        raise ImageError(f"{name} can't be decoded as {format_name}: {error or type(error).__name__}") from error


def _rgb(image: Image.Image, color: Color) -> tuple[Image.Image, bool, tuple[Flaw, ...]]:
    """Convert to RGB in as few passes as possible; also return whether colors were converted, and flaws."""
    info, stored = image.info, image
    flaws: list[Flaw] = []
    if (about := tiff.grayscale_of(image)) is not None:
        stored = tiff.levels(image, about)
    elif image.mode in ("I", "F") or image.mode.startswith("I;16"):
        stored = _eight_bit_gray(image)
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
        rgba = shown.convert("RGBA")
        if rgba.getchannel("A").getextrema() == (0, 0):
            flaws.append(("blank", "it is fully transparent and becomes white"))
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white, converted, tuple(flaws)
    return shown if shown.mode == "RGB" else shown.convert("RGB"), converted, tuple(flaws)


def _eight_bit_gray(image: Image.Image) -> Image.Image:
    """Scale 16-bit grayscale so that 65,535 becomes 255; Pillow's own conversion would clip at 255."""
    levels = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 65_535:
        kind = "floating-point" if image.mode == "F" else "integer"
        raise ImageError(f"32-bit {kind} pixels have no defined white level; save it as 8 or 16 bits per channel")
    gray = ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        gray[levels == transparent] = 255
    return Image.fromarray(gray)
