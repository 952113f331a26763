"""Pictures from foreign bytes: any common format comes out RGB, upright and fully decoded, or is refused with a reason.

The format is told by the content, never by the file's name, and nothing of Pillow's process-wide state is changed.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from breedclf.errors import ImageError, ImageTooLargeError
from breedclf.learning.image_cost import check_cost

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)
"""Lower-case suffixes that mark a file as a picture when a folder is scanned."""

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Pictures with more pixels are refused before they are decoded (89,478,485, where Pillow would begin to warn)."""

MAX_FILE_BYTES = 1 << 30
"""Longer files are refused unread: no picture within MAX_PIXELS needs so many bytes."""

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EXIF_START = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class PictureFacts:
    """What a picture was in its file: Pillow's name of the mode, its pixels, its EXIF orientation (1 to 8)."""

    format_name: str
    mode: str
    width: int
    height: int
    orientation: int


def open_picture(source: Path | bytes, *, name: str | None = None) -> Image.Image:
    """Decode a picture into an upright RGB image.

    Transparent parts come out white, 16-bit greys are scaled to 8 bits, and of an animation the first frame is taken.
    Safe to call from several threads.

    Args:
        source: a file, or the bytes of one: JPEG (MPO too), PNG, WebP, GIF, BMP or TIFF.
        name: what errors call it, where that isn't the file's path.

    Returns:
        A loaded image of mode RGB that holds no file open and carries no metadata.

    Raises:
        ImageTooLargeError: it has more than MAX_PIXELS pixels or MAX_FILE_BYTES bytes.
        ImageError: it can't be read, is in another format, or is damaged; the message names the file.

    Example:
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("L", (4, 2), 128).save(file, "PNG")
        >>> open_picture(file.getvalue()).getpixel((0, 0))
        (128, 128, 128)
    """
    name = name or ("the given bytes" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    return read_picture(data, name)[0]


def read_picture(
    data: bytes, name: str = "the given bytes", *, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, PictureFacts]:
    """As `open_picture`, with what the picture was before; `name` is what an error calls it.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels, or costs too much to decode.
        ImageError: it is in another format, or is damaged.
    """
    if not data:
        raise ImageError(f"{name} can't be decoded: it is empty (0 bytes)")
    format_name = sniff_format(data)
    if format_name is None:
        known = ", ".join(_READERS)
        raise ImageError(f"{name} can't be decoded: it is none of {known} (it starts with {data[:12]!r})")
    check_cost(data, format_name, name, max_pixels=max_pixels)
    return _decode(data, format_name, name, max_pixels)


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
    return "TIFF" if data.startswith(_TIFF_STARTS) else None


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn any Pillow image upright by its EXIF block, put it over white where it is transparent, and make it RGB.

    Raises:
        ImageError: it was opened lazily and is damaged, or its pixels have no agreed white
            level (floats, and integers beyond 16 bits).
    """
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"a picture opened with Pillow can't be decoded: {error or type(error).__name__}") from error
    exif = image.info.get("exif")
    rgb = _rgb(image)
    turn = _UPRIGHT_BY.get(orientation(exif)) if isinstance(exif, bytes) else None
    return rgb.transpose(turn) if turn is not None else rgb


def picture_from_array(array: NDArray[np.uint8]) -> Image.Image:
    """A picture from uint8 [height, width] or [height, width, 3 or 4].

    Raises:
        ImageError: the array has another type or shape.
    """
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in array.shape:
        raise ImageError(
            f"an array must be uint8 [height, width] or [height, width, 3 or 4], not {array.dtype} "
            f"{list(array.shape)}; pass several pictures as a list"
        )
    return Image.fromarray(array)


def orientation(exif: bytes) -> int:
    """The orientation (1 to 8) that an EXIF block asks for; 1, upright, when it is damaged or doesn't say.

    Source: EXIF 2.32, section 4.6; read here because Pillow warns about each damaged block, for the whole process.
    """
    block = exif.removeprefix(_EXIF_START)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}L", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(entries):
            at = directory + 2 + 12 * entry
            tag, kind = struct.unpack_from(f"{order}HH", block, at)
            if tag == _ORIENTATION_TAG:
                (value,) = struct.unpack_from(order + ("L" if kind == 4 else "H"), block, at + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


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
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{path} can't be read: {reason}") from error


def _decode(data: bytes, format_name: str, name: str, max_pixels: int) -> tuple[Image.Image, PictureFacts]:
    exif = b""
    if format_name == "JPEG":
        data, exif = without_exif(data)
    try:
        image: Image.Image = _READERS[format_name](BytesIO(data))
        if image.width * image.height > max_pixels:
            raise ImageTooLargeError(
                f"{name} can't be decoded: {image.width:,} x {image.height:,} is more than {max_pixels:,} pixels"
            )
        image.load()
        mode, size = image.mode, image.size
        if format_name == "JPEG":
            if exif:
                image.info["exif"] = exif
            if image.mode == "CMYK" and "adobe" not in image.info:
                image = _inverted(image)
        block = image.info.get("exif")
        facts = PictureFacts(format_name, mode, *size, orientation(block) if isinstance(block, bytes) else 1)
        upright = upright_rgb(image)
        upright.info.clear()  # turned already: nobody is to turn it again by its EXIF block
        return upright, facts
    except (MemoryError, ImageTooLargeError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name} can't be decoded: it has more than {MAX_PIXELS:,} pixels") from error
    except ImageError as error:
        raise ImageError(f"{name} can't be decoded: {error}") from error
    except Exception as error:  # fed with foreign bytes, a decoder may raise anything
        raise ImageError(f"{name} can't be decoded as {format_name}: {error or type(error).__name__}") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Mode RGB, in as few passes as the mode allows."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bit_grey(image).convert("RGB")
    if image.has_transparency_data:
        see_through = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(see_through, mask=see_through)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


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


def _inverted(image: Image.Image) -> Image.Image:
    """Undo Pillow's inversion, which is right only for the four-colour JPEG files with Adobe's marker."""
    return ImageChops.invert(image)


def without_exif(jpeg: bytes) -> tuple[bytes, bytes]:
    """The file without its EXIF segments, and the first of these: Pillow would warn of a damaged one."""
    kept, exif, start = [], b"", 0
    for begin, end in _exif_segments(jpeg):
        kept.append(jpeg[start:begin])
        exif = exif or jpeg[begin + 4 : end]
        start = end
    return (b"".join([*kept, jpeg[start:]]), exif) if kept else (jpeg, b"")


def _exif_segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and 0xC0 <= jpeg[at + 1] <= 0xFE and jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] == 0xE1 and jpeg.startswith(_EXIF_START, at + 4):
            yield at, min(end, len(jpeg))
        at = end
