"""TIFF's own tags: the numbers of its first directory (EXIF blocks are TIFF, too), and grey levels read by them."""

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
    """The first value of a tag, where it is in the file, and how struct packs it there."""

    value: int
    at: int
    packed: str


def numbers(block: bytes) -> dict[int, Number]:
    """Tags of the first directory by their number, as far as it is whole; only values that fit into it are right.

    Source: TIFF 6.0, section 2; BigTIFF has longer offsets. Read here because Pillow warns about each damaged block,
    for the whole process.
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


class Greys(NamedTuple):
    """What the tags say of one grey channel: bits a sample, whether zero is white, and the width in pixels."""

    bits: int
    white_is_zero: bool
    width: int
    floating: bool

    @property
    def scaled(self) -> bool:
        """Whether Pillow leaves it to us which level is white."""
        return self.bits not in (1, 2, 4, 8)


def greys(tags: dict[int, Number]) -> Greys | None:
    """The grey channel of a file with one sample a pixel; None for all others."""
    value = {tag: number.value for tag, number in tags.items()}
    if value.get(_SAMPLES, 1) != 1 or value.get(_PHOTOMETRIC) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        return None
    white_is_zero = value[_PHOTOMETRIC] == _WHITE_IS_ZERO
    return Greys(value.get(_BITS, 1), white_is_zero, value.get(_WIDTH, 0), value.get(_FORMAT, 1) == 3)


def says_alpha(tags: dict[int, Number]) -> bool:
    """Whether a fourth channel is declared to be anything."""
    return _EXTRA_SAMPLES in tags


def layout(tags: dict[int, Number]) -> str:
    """How the pixels are laid out, in the words of the tags."""
    value = {tag: number.value for tag, number in tags.items()}
    return (
        f"PhotometricInterpretation {value.get(_PHOTOMETRIC, 'unknown')}, SamplesPerPixel {value.get(_SAMPLES, 1)}, "
        f"SampleFormat {value.get(_FORMAT, 1)}"
    )


def for_pillow(data: bytes, tags: dict[int, Number], about: Greys | None) -> bytes:
    """The file with tags that Pillow knows how to read, not turned; `levels` makes up for what they no longer say.

    Greys of more than 8 bits get zero as black. Those of a depth that Pillow doesn't know are told to be a wider image
    of 8 bits: their rows are the same bytes.

    Raises:
        ImageError: the samples have no agreed white level.
        ValueError: the bits are laid out in a way that is not read.
    """
    changes = {ORIENTATION: 1} if ORIENTATION in tags else {}
    if about is None or not about.scaled:
        return _patched(data, tags, changes)
    _check_white(about.bits, floating=about.floating)
    changes[_PHOTOMETRIC] = _BLACK_IS_ZERO
    if about.bits not in _PILLOWS_BITS:
        if _TILE_WIDTH in tags or tags.get(_COMPRESSION, Number(1, 0, "H")).value in _JPEGS:
            raise ValueError(f"tiles and JPEGs of {about.bits} bits aren't read; save it with 8 or 16 bits a channel")
        changes |= {_BITS: 8, _WIDTH: -(-about.width * about.bits // 8)}
    return _patched(data, tags, changes)


def _patched(data: bytes, tags: dict[int, Number], changes: dict[int, int]) -> bytes:
    if not changes:
        return data
    patched = bytearray(data)
    for tag, value in changes.items():
        struct.pack_into(tags[tag].packed, patched, tags[tag].at, value)
    return bytes(patched)


def levels(image: Image.Image, about: Greys) -> Image.Image:
    """An image of more than 8 bits as 8-bit grey, by the depth and the white that its tags name.

    Raises:
        ImageError: its samples have no agreed white level (floats, signed ones, and integers of 32 bits).
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
        raise ImageError(f"{what} have no agreed white level; save it with 8 or 16 bits a channel")


def greys_of(image: Image.Image) -> Greys | None:
    """The same for an image of more than 8 bits that Pillow has read itself."""
    if not isinstance(image, TiffImageFile) or not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return None
    tags = image.tag_v2
    return Greys(tags[_BITS][0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, image.width, image.mode == "F")


def _unpacked(rows: NDArray[np.uint8], about: Greys) -> NDArray[np.uint16]:
    """Samples [H, W] from rows of bytes, the highest bit first."""
    bits = np.unpackbits(rows, axis=1)[:, : about.width * about.bits].reshape(len(rows), about.width, about.bits)
    places = (1 << np.arange(about.bits - 1, -1, -1)).astype(np.uint16)
    samples: NDArray[np.uint16] = (bits * places).sum(axis=2, dtype=np.uint16)
    return samples
