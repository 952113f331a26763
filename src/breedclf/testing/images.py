"""Synthetic image datasets: patterns that differ in shape and texture, and broken or unusual files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath

Plane = NDArray[np.float32]

_TINT = 35.0
_INKED = (0.4, 0.5)
"""The share of an image that its pattern covers, the same range for all: otherwise a color histogram would show it."""


def write_image_set(
    folder: StrPath,
    *,
    classes: int = 5,
    train: int = 16,
    valid: int = 6,
    test: int = 12,
    seed: int = 0,
    size_px: int = 128,
) -> Path:
    """Write a dataset in the layout `train|valid|test/001.Stripes/0001.jpg` and return its folder.

    The classes are patterns. Colors, inked share, scale, position, rotation, brightness and noise of each image are
    random and independent of its class, so only shape and arrangement distinguish the classes. The same arguments give
    the same images.

    Args:
        folder: where to write; it is created, and must not contain these splits yet.
        classes: the number of classes, 2 to 8.
        train: images per class in this split; `valid` and `test` likewise (0 leaves the split out).
        valid: see `train`.
        test: see `train`.
        seed: the seed of all random choices.
        size_px: height and width of every image.

    Raises:
        ConfigError: the number of classes is out of range, or a split exists already.

    Example:
        >>> import tempfile
        >>> root = write_image_set(tempfile.mkdtemp(), classes=2, train=1, valid=1, test=0)
        >>> sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))[0]
        'train/001.Stripes/0001.jpg'
    """
    if not 2 <= classes <= len(PATTERNS):
        raise ConfigError(f"classes={classes}: a synthetic dataset has 2 to {len(PATTERNS)} classes")
    root = Path(folder)
    counts = {name: count for name, count in (("train", train), ("valid", valid), ("test", test)) if count}
    taken = [name for name in counts if (root / name).exists()]
    if taken:
        raise ConfigError(f"{root} already contains {', '.join(taken)}; choose an empty folder")
    for split_number, (split, count) in enumerate(counts.items()):
        for label_number, pattern in enumerate(list(PATTERNS)[:classes]):
            home = root / split / f"{label_number + 1:03}.{pattern}"
            home.mkdir(parents=True)
            for number in range(count):
                random = np.random.default_rng([seed, split_number, label_number, number])
                draw_image(pattern, random, size_px=size_px).save(home / f"{number + 1:04}.jpg", quality=90)
    return root


def draw_image(pattern: str, random: np.random.Generator, *, size_px: int = 128) -> Image.Image:
    """Draw one RGB image of a pattern of PATTERNS, size_px high and wide."""
    values = PATTERNS[pattern](random, size_px)
    shape = values < np.quantile(values, random.uniform(*_INKED))
    dark, light = _tinted(random, 10, 80), _tinted(random, 160, 245)
    ink, paper = (dark, light) if random.random() < 0.5 else (light, dark)
    image = np.where(shape[..., None], ink, paper)
    image *= _uneven_light(random, size_px)[..., None]
    image += random.standard_normal((size_px, size_px, 1), dtype=np.float32) * np.float32(random.uniform(1, 10))
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def _tinted(random: np.random.Generator, darkest: float, lightest: float) -> Plane:
    """A color of any hue, between two levels of gray."""
    return (random.uniform(darkest, lightest) + random.uniform(-_TINT, _TINT, 3)).astype(np.float32)


def _uneven_light(random: np.random.Generator, size_px: int) -> Plane:
    """A factor per pixel that falls off to one side, as in a photo."""
    slope_x, slope_y = random.uniform(-0.15, 0.15, 2).astype(np.float32)
    steps = np.linspace(-1, 1, size_px, dtype=np.float32)
    light: Plane = np.float32(1) + slope_x * steps[None, :] + slope_y * steps[:, None]
    return light


def _turned_plane(random: np.random.Generator, size_px: int, fewest: float, most: float) -> tuple[Plane, Plane]:
    """Coordinates of every pixel, randomly rotated, shifted and scaled; the image is `fewest` to `most` units wide."""
    units = random.uniform(fewest, most)
    angle = random.uniform(0, 2 * np.pi)
    steps = np.linspace(-units / 2, units / 2, size_px, dtype=np.float32)
    x, y = steps[None, :], steps[:, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    shift_x, shift_y = random.uniform(-1, 1, 2).astype(np.float32)
    return cosine * x - sine * y + shift_x, sine * x + cosine * y + shift_y


def _part(values: Plane) -> Plane:
    """The fractional part of each value."""
    return values - np.floor(values)


def _noise(random: np.random.Generator, size_px: int, cells: int, resampling: Image.Resampling) -> Plane:
    """Irregular patches: noise of `cells` x `cells`, enlarged."""
    noise = Image.fromarray(random.random((cells, cells), dtype=np.float32))
    return np.asarray(noise.resize((size_px, size_px), resampling), np.float32)


def _stripes(random: np.random.Generator, size_px: int) -> Plane:
    across, _ = _turned_plane(random, size_px, 2.5, 4)
    return _part(across)


def _checkers(random: np.random.Generator, size_px: int) -> Plane:
    across, down = _turned_plane(random, size_px, 7, 12)
    values: Plane = np.sin(np.pi * across) * np.sin(np.pi * down)
    return values


def _triangle(random: np.random.Generator, size_px: int) -> Plane:
    """One large triangle."""
    across, down = _turned_plane(random, size_px, 4, 5)
    values: Plane = np.maximum(np.abs(across) / np.float32(0.6) + down, -2 * down)
    return values


def _speckle(random: np.random.Generator, size_px: int) -> Plane:
    return _noise(random, size_px, int(random.integers(56, 68)), Image.Resampling.BICUBIC)


def _sand(random: np.random.Generator, size_px: int) -> Plane:
    return _noise(random, size_px, 128, Image.Resampling.NEAREST)


def _rings(random: np.random.Generator, size_px: int) -> Plane:
    across, down = _turned_plane(random, size_px, 4, 7)
    return _part(np.hypot(across, down))


def _dots(random: np.random.Generator, size_px: int) -> Plane:
    """Round spots in rows; every other row is shifted by half a period."""
    across, down = _turned_plane(random, size_px, 9, 14)
    shift = np.where(np.floor(down) % 2, 0.5, 0).astype(np.float32)
    values: Plane = np.hypot(_part(across + shift) - 0.5, _part(down) - 0.5)
    return values


def _lattice(random: np.random.Generator, size_px: int) -> Plane:
    across, down = _turned_plane(random, size_px, 9, 14)
    values: Plane = np.minimum(_part(across), _part(down))
    return values


PATTERNS: dict[str, Callable[[np.random.Generator, int], Plane]] = {
    "Stripes": _stripes,
    "Checkers": _checkers,
    "Triangle": _triangle,
    "Speckle": _speckle,
    "Sand": _sand,
    "Rings": _rings,
    "Dots": _dots,
    "Lattice": _lattice,
}
"""The patterns by class name: a value per pixel, of which the lowest ones are inked. A dataset of N classes uses the
first N.
"""


class HostileImages(NamedTuple):
    """Files as they occur in real folders: the broken ones can't be decoded, the odd ones can."""

    broken: tuple[Path, ...]
    odd: tuple[Path, ...]


def write_hostile_images(folder: StrPath) -> HostileImages:
    """Write broken files and valid ones of unusual kinds, all named like images.

    Broken: empty, text, truncated, damaged, too many pixels. Odd: 16-bit gray, one bit, palette, transparent, CMYK,
    rotated by EXIF, with a damaged EXIF block, animated, and a PNG named .jpg.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    plain = draw_image("Checkers", np.random.default_rng(0), size_px=96)
    jpeg, png = _encoded(plain, "JPEG"), _encoded(plain, "PNG")
    middle = len(png) // 2
    gray = np.asarray(plain.convert("L"))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    clear = plain.convert("RGBA")
    clear.putalpha(Image.fromarray(gray))
    broken = {
        "empty.jpg": b"",
        "text.jpg": b"This was never an image.\n",
        "cut.jpg": jpeg[:150],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "damaged.png": png[:middle] + bytes(64) + png[middle + 64 :],
        "bomb.png": _claims_to_be(png, 30_000),
    }
    odd = {
        "grey16.png": _encoded(Image.fromarray(gray.astype(np.uint16) * 257), "PNG"),
        "one_bit.tif": _encoded(plain.convert("1"), "TIFF"),
        "palette.bmp": _encoded(plain.quantize(8), "BMP"),
        "transparent.webp": _encoded(clear, "WEBP", lossless=True),
        "cmyk.jpg": _encoded(plain.convert("CMYK"), "JPEG"),
        "turned.jpg": _encoded(plain, "JPEG", exif=turned),
        "damaged_exif.jpg": _encoded(plain, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 40),
        "animated.gif": _encoded(plain, "GIF", save_all=True, append_images=[plain.rotate(90)]),
        "png_inside.jpg": png,
    }
    for name, content in (broken | odd).items():
        (root / name).write_bytes(content)
    return HostileImages(tuple(root / name for name in broken), tuple(root / name for name in odd))


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _claims_to_be(png: bytes, edge_px: int) -> bytes:
    """The file with another size in its header, and the matching checksum."""
    header = b"IHDR" + struct.pack(">LL", edge_px, edge_px) + png[24:29]
    return png[:12] + header + struct.pack(">L", zlib.crc32(header)) + png[33:]
