"""A map drawn over an image, with colors of equal steps in OKLab that are safe for the color-blind.

The image becomes gray, so that every color is the map's. OKLab: Ottosson, "A perceptual color space for image
processing", 2020.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]

SHOWN_PX = 240
_STEPS = 256
_SEQUENTIAL = ((0.42, 0.16, 310.0), (0.66, 0.19, 30.0 + 360), (0.94, 0.17, 105.0 + 360))
"""Lightness, chroma and hue in degrees: violet, red, yellow."""

_FOR, _AGAINST = ((0.72, 0.17, 60.0), (0.60, 0.17, 255.0))
"""Orange and blue, which all kinds of color vision tell apart."""

_MOST_OPAQUE = 0.72
_GRAY_CONTRAST = 0.75


def overlay(image: Image.Image, values: npt.NDArray[np.float32], *, diverging: bool = False) -> Image.Image:
    """The image in gray with a map [h, w] of any size in color; values near zero, and below it, show the image.

    Args:
        image: RGB.
        values: scaled by the largest of them.
        diverging: also show values below zero, in blue.
    """
    enlarged = _enlarged(values, image.size)
    most = float(np.abs(enlarged).max()) if diverging else float(enlarged.max())
    shares = enlarged / most if most > 0 else np.zeros_like(enlarged)
    shares = np.clip(shares, -1.0 if diverging else 0.0, 1.0)
    colors = _diverging(shares) if diverging else sequential_colors()[np.rint(shares * (_STEPS - 1)).astype(int)]
    gray = np.asarray(image.convert("L"), np.float64)[..., None] / 255
    gray = 0.5 + (gray - 0.5) * _GRAY_CONTRAST
    opaque = (_MOST_OPAQUE * np.abs(shares))[..., None]
    mixed = gray * (1 - opaque) + colors * opaque
    return Image.fromarray(np.rint(mixed * 255).clip(0, 255).astype(np.uint8), "RGB")


@cache
def sequential_colors() -> Floats:
    """Colors [256, 3] from 0 to 1 for shares from 0 to 1; lightness rises evenly."""
    ends = np.array(_SEQUENTIAL)
    at = (ends[:, 0] - ends[0, 0]) / (ends[-1, 0] - ends[0, 0])
    steps = np.linspace(0, 1, _STEPS)
    return _rgb(*(np.interp(steps, at, ends[:, part]) for part in range(3)))


def _diverging(shares: Floats) -> Floats:
    one, other = (_rgb(*map(np.array, color)) for color in (_FOR, _AGAINST))
    return np.where(shares[..., None] >= 0, one, other)


def _enlarged(values: npt.NDArray[np.float32], size: tuple[int, int]) -> Floats:
    small = Image.fromarray(np.asarray(values, np.float32), "F")
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float64)


def _rgb(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """sRGB from 0 to 1 of colors in OKLCh, clipped."""
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    rgb: Floats = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb


def small_jpeg(image: Image.Image, side_px: int = SHOWN_PX) -> bytes:
    """The image as a JPEG file that a page can contain."""
    shown, file = image.convert("RGB"), BytesIO()
    shown.thumbnail((side_px, side_px))
    shown.save(file, "JPEG", quality=75, optimize=True)
    return file.getvalue()
