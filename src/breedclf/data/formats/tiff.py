"""TIFF tags: the numbers in the first directory (also of EXIF blocks, which are TIFF), and grayscale read by them."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from breedclf.errors import ImageError

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 0x0112
_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _TILE_WIDTH, _FORMAT = 256, 258, 259, 262, 277, 322, 339
_EXTRA_SAMPLES = 338
_KINDS = {1: "B", 4: "L", 16: "Q"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_JPEGS = (6, 7)
_PILLOWS_BITS = (1, 2, 4, 8, 16)


class Number(NamedTuple):
    """The first value of a tag, its offset in the file, and its struct format."""

    value: int
    at: int
    packed: str


def numbers(block: bytes) -> dict[int, Number]:
    """The tags of the first directory by number, up to the first damaged one; only values stored inline are correct.

    Source: TIFF 6.0, section 2; BigTIFF has longer offsets. Pillow would warn about each damaged block.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return {}
    big = block[2:4] in (b"+\0", b"\0+")
    offset, count, head, entry_size, value_at = ("Q", "Q", 8, 20, 12) if big else ("L", "H", 4, 12, 8)
    found: dict[int, Number] = {}
    try:
        (directory,) = struct.unpack_from(order + offset, block, head)
        (entries,) = struct.unpack_from(order + count, block, directory)
        first = directory + struct.calcsize(order + count)
        for at in range(first, min(first + entry_size * entries, len(block)), entry_size):
            tag, kind = struct.unpack_from(order + "HH", block, at)
            packed = order + _KINDS.get(kind, "H")
            found.setdefault(tag, Number(struct.unpack_from(packed, block, at + value_at)[0], at + value_at, packed))
    except (struct.error, OverflowError):
        pass
    return found


class Grayscale(NamedTuple):
    """What the tags of a grayscale image say: bits per sample, which level is white, width, sample type."""

    bits: int
    white_is_zero: bool
    width: int
    floating: bool

    @property
    def scaled(self) -> bool:
        """Whether `levels` has to scale the samples, since Pillow doesn't."""
        return self.bits not in (1, 2, 4, 8)


def grayscale(tags: dict[int, Number]) -> Grayscale | None:
    """The description of a file with one gray sample per pixel; None for any other file."""
    value = {tag: number.value for tag, number in tags.items()}
    if value.get(_SAMPLES, 1) != 1 or value.get(_PHOTOMETRIC) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        return None
    white_is_zero = value[_PHOTOMETRIC] == _WHITE_IS_ZERO
    return Grayscale(value.get(_BITS, 1), white_is_zero, value.get(_WIDTH, 0), value.get(_FORMAT, 1) == 3)


def says_alpha(tags: dict[int, Number]) -> bool:
    """Whether the tags declare the meaning of extra channels."""
    return _EXTRA_SAMPLES in tags


def layout(tags: dict[int, Number]) -> str:
    """The pixel layout, named by the tags."""
    value = {tag: number.value for tag, number in tags.items()}
    return (
        f"PhotometricInterpretation {value.get(_PHOTOMETRIC, 'unknown')}, SamplesPerPixel {value.get(_SAMPLES, 1)}, "
        f"SampleFormat {value.get(_FORMAT, 1)}"
    )


def for_pillow(data: bytes, tags: dict[int, Number], about: Grayscale | None) -> bytes:
    """Patch the tags so that Pillow can read the file, upright; `levels` then applies what the patch has removed.

    Grayscale of more than 8 bits is declared to have zero as black. A depth that Pillow doesn't support is declared as
    a wider image of 8 bits, whose rows consist of the same bytes.

    Raises:
        ImageError: the samples have no defined white level.
        ValueError: the layout of the bits isn't supported.
    """
    changes = {ORIENTATION: 1} if ORIENTATION in tags else {}
    if about is None or not about.scaled:
        return _patched(data, tags, changes)
    _check_white(about.bits, floating=about.floating)
    changes[_PHOTOMETRIC] = _BLACK_IS_ZERO
    if about.bits not in _PILLOWS_BITS:
        if _TILE_WIDTH in tags or tags.get(_COMPRESSION, Number(1, 0, "H")).value in _JPEGS:
            raise ValueError(
                f"tiles and JPEGs of {about.bits} bits aren't supported; save it as 8 or 16 bits per channel"
            )
        changes |= {_BITS: 8, _WIDTH: -(-about.width * about.bits // 8)}
    return _patched(data, tags, changes)


def _patched(data: bytes, tags: dict[int, Number], changes: dict[int, int]) -> bytes:
    if not changes:
        return data
    patched = bytearray(data)
    for tag, value in changes.items():
        struct.pack_into(tags[tag].packed, patched, tags[tag].at, value)
    return bytes(patched)


def levels(image: Image.Image, about: Grayscale) -> Image.Image:
    """Convert grayscale of more than 8 bits to 8 bits, by the depth and the white level of its tags.

    Raises:
        ImageError: its samples have no defined white level (floats, signed integers, and 32-bit integers).
    """
    _check_white(about.bits, floating=about.floating, signed=image.mode == "I")
    samples = np.asarray(image)
    if samples.dtype == np.uint8:
        samples = _unpacked(samples, about)
    white = (1 << about.bits) - 1
    samples = samples.astype(np.uint32)
    samples = white - samples if about.white_is_zero else samples
    return Image.fromarray(((samples * 255 + white // 2) // white).astype(np.uint8))


def _check_white(bits: int, *, floating: bool, signed: bool = False) -> None:
    if bits > 16 or floating or signed:
        what = f"{bits}-bit {'floating-point' if floating else 'integer'} pixels"
        raise ImageError(f"{what} have no defined white level; save it as 8 or 16 bits per channel")


def grayscale_of(image: Image.Image) -> Grayscale | None:
    """The description of a grayscale image of more than 8 bits that Pillow has opened."""
    if not isinstance(image, TiffImageFile) or not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return None
    tags = image.tag_v2
    return Grayscale(tags[_BITS][0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, image.width, image.mode == "F")


def _unpacked(rows: NDArray[np.uint8], about: Grayscale) -> NDArray[np.uint16]:
    """Unpack samples [H, W] from rows of bytes, most significant bit first."""
    bits = np.unpackbits(rows, axis=1)[:, : about.width * about.bits].reshape(len(rows), about.width, about.bits)
    places = (1 << np.arange(about.bits - 1, -1, -1)).astype(np.uint16)
    samples: NDArray[np.uint16] = (bits * places).sum(axis=2, dtype=np.uint16)
    return samples
