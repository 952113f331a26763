"""Convert images whose color profile is far from sRGB; all other images stay as they are stored.

A profile is far from sRGB if the colors of a test chart differ by more than FAR_LEVELS levels (of 256) on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Color = Literal["as_stored", "srgb"]
"""`srgb` converts images that are far from sRGB; `as_stored` ignores color profiles."""

FAR_LEVELS = 10.0
"""Display P3 differs by 7 levels, Adobe RGB by 8, a gamma of 1.8 by 15, ProPhoto by 25, linear by 55."""

# The 24 patches of the ColorChecker chart, sRGB.
_CHART = bytes.fromhex(
    "735244 c29682 627a9d 576c43 8580b1 67bdaa d67e2c 505ba6 c15a63 5e3c6c 9dbc40 e0a32e"
    "383d96 469449 af363c e7c71f bb5695 0885a1 f3f3f2 c8c8c8 a0a0a0 7a7a79 555555 343434"
)
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_SRGB_CHROMATICITY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_SRGB_GAMMA = 1 / 2.2
_SAME_CHROMATICITY = 0.005


class ProfileError(ValueError):
    """A color profile that can't be used."""


def to_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Convert a loaded image to sRGB (mode RGB or RGBA) if its `info` says that its colors are far from it.

    An ICC profile takes precedence over PNG's sRGB, gAMA and cHRM chunks.

    Raises:
        ProfileError: the ICC profile is broken or is for another kind of pixels.
    """
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return _by_profile(image, profile)
    if "srgb" in info or image.mode == "CMYK":
        return image
    described = _described(info)
    return image if described is None else _by_numbers(image, *described)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of mode LAB (white point D50) to RGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted


def is_far(profile: bytes) -> bool:
    """Whether images with this ICC profile are converted.

    Raises:
        ProfileError: it is broken.
    """
    return _distance(profile) > FAR_LEVELS


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    far = is_far(profile)
    mode = _mode_of(profile)
    alpha = image.has_transparency_data
    if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and image.mode not in ("1", "L", "LA")):
        raise ProfileError(f"its ICC profile is for {mode} pixels, but they are {image.mode}")
    if not far:
        return image
    if mode == "CMYK":
        return _applied(image, profile)
    if not alpha:
        return _applied(image.convert(mode), profile)
    clear = image.convert("RGBA")
    converted = _applied(clear.convert("RGB").convert(mode), profile)
    converted.putalpha(clear.getchannel("A"))
    return converted


def _applied(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.applyTransform(image, _transform(profile))
    assert converted is not None
    return converted


@lru_cache(maxsize=64)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform:
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _SPACES.get(opened.profile.xcolor_space.strip())
        if mode is None:
            raise ProfileError(
                f"its ICC profile is for {opened.profile.xcolor_space.strip()}, not for RGB, gray or CMYK"
            )
        return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise ProfileError(f"its ICC profile is broken: {error}") from error


def _mode_of(profile: bytes) -> str:
    return str(_transform(profile).input_mode)


@lru_cache(maxsize=64)
def _distance(profile: bytes) -> float:
    """By how many levels the colors of the chart differ on average if the profile is ignored."""
    stored = _chart().convert(_mode_of(profile))
    return _levels_between(stored.convert("RGB"), _applied(stored, profile))


def _chart() -> Image.Image:
    return Image.frombytes("RGB", (len(_CHART) // 3, 1), _CHART)


def _levels_between(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def _described(info: Mapping[Any, Any]) -> tuple[float | None, tuple[float, ...]] | None:
    """PNG's gamma (None for sRGB's curve) and chromaticities, if they are far from sRGB."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    gamma = gamma if isinstance(gamma, float) and 0.01 < gamma < 10 else None
    if gamma is not None and abs(gamma - _SRGB_GAMMA) < 0.005:
        gamma = None
    sound = isinstance(points, tuple) and len(points) == 8 and all(0 < y < 1 for y in points[1::2])
    chromaticity = tuple(points) if sound and points is not None else _SRGB_CHROMATICITY
    if max(abs(a - b) for a, b in zip(chromaticity, _SRGB_CHROMATICITY, strict=True)) < _SAME_CHROMATICITY:
        chromaticity = _SRGB_CHROMATICITY
    if gamma is None and chromaticity == _SRGB_CHROMATICITY:
        return None
    return (gamma, chromaticity) if _far_by_numbers(gamma, chromaticity) else None


@lru_cache(maxsize=64)
def _far_by_numbers(gamma: float | None, chromaticity: tuple[float, ...]) -> bool:
    return _levels_between(_chart(), _by_numbers(_chart(), gamma, chromaticity)) > FAR_LEVELS


def _by_numbers(image: Image.Image, gamma: float | None, chromaticity: tuple[float, ...]) -> Image.Image:
    """Convert by a gamma and chromaticities (white, red, green, blue), as defined by PNG 3, section 11.3.2."""
    clear = image.convert("RGBA") if image.has_transparency_data else None
    stored = np.asarray((clear or image).convert("RGB"))
    levels = np.arange(256, dtype=np.float32) / 255
    light = _srgb_light(levels) if gamma is None else levels ** np.float32(1 / gamma)
    if chromaticity == _SRGB_CHROMATICITY:
        converted = _as_bytes(light)[stored]
    else:
        matrix = np.linalg.solve(_to_xyz(_SRGB_CHROMATICITY), _to_xyz(chromaticity)).astype(np.float32)
        converted = _as_bytes(light[stored] @ matrix.T)
    rgb = Image.fromarray(converted)
    if clear is not None:
        rgb.putalpha(clear.getchannel("A"))
    return rgb


def _srgb_light(levels: NDArray[Any]) -> NDArray[Any]:
    light: NDArray[Any] = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _as_bytes(light: NDArray[Any]) -> NDArray[np.uint8]:
    """Encode linear light (0 to 1) by sRGB's curve."""
    light = light.clip(0, 1)
    levels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** np.float32(1 / 2.4) - 0.055)
    return (levels * 255 + 0.5).astype(np.uint8)


def _to_xyz(chromaticity: tuple[float, ...]) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ relative to the white point; white points are adapted by scaling XYZ."""
    white, *primaries = (
        (x / y, 1.0, (1 - x - y) / y) for x, y in zip(chromaticity[::2], chromaticity[1::2], strict=True)
    )
    columns = np.array(primaries).T
    matrix: NDArray[np.float64] = columns * np.linalg.solve(columns, np.array(white)) / np.array(white)[:, None]
    return matrix
