"""From a file or its bytes to an upright RGB picture, whatever the format; what can't be decoded is named."""

from __future__ import annotations

import stat
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from breedclf.errors import ImageError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 89_478_485  # where Pillow itself begins to warn of decompression bombs
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WHITE = (255, 255, 255, 255)


def open_picture(source: Path | bytes) -> Image.Image:
    """Decode a file or its bytes into an upright RGB picture.

    The format is read from the content, not from the name. Rotation by EXIF is applied, transparency is laid over
    white, 16-bit grey is scaled to 8 bits, and of an animation the first frame is taken.

    Raises:
        ImageError: it can't be read, is no picture of a known format, is damaged or cut short, or has more than
            MAX_PIXELS pixels.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise ImageError(f"{name} can't be decoded: it is empty (0 bytes)")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(image, name)
            return upright_rgb(image)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} can't be decoded: it is no {', '.join(FORMATS)} picture") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} is refused: it has more than {MAX_PIXELS:,} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError, OverflowError, Warning) as error:
        raise ImageError(f"{name} can't be decoded: {error or type(error).__name__}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Load a Pillow image and bring it to 8-bit RGB, upright.

    Raises:
        ImageError: its mode holds floating-point numbers, whose range nobody can know.
    """
    if image.mode == "F":
        raise ImageError("a picture of 32-bit floating-point numbers has no known range; convert it to 8 bits first")
    image.load()
    rgb = _as_rgb(image)
    return _turned(rgb, _orientation(image))


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"{path} can't be decoded: it is not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}") from error


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} is refused: {width} x {height} is more than {MAX_PIXELS:,} pixels")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy() if image.readonly else image
    if image.mode in _SIXTEEN_BIT_MODES:
        grey = np.asarray(image).astype(np.uint32).clip(0, 65_535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, or 1 (upright) when there is none or its block is damaged."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - Pillow raises whatever a damaged EXIF block makes it stumble over
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)
