"""Digests of images by content: of a file's bytes, of given bytes, or of the pixels of an array or a PIL image."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image

from breedclf.data.images import ImageLike
from breedclf.files.file_stat import FileStat
from breedclf.files.known_files import ReadFile

DIGEST_BYTES = 16
_READ_BYTES = 1 << 20
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe must not block
_UNREADABLE = b"unreadable "
_OF_METADATA = ("exif", "icc_profile", "transparency")  # what decoding reads beside the pixels


def digest_of(image: ImageLike) -> bytes:
    """The digest of an image, 16 bytes; a file and its bytes have the same one.

    Of an array it covers dtype, shape and pixels; of a PIL image also mode, palette, orientation and color profile.

    Raises:
        OSError: a PIL image that was opened lazily can't be read.

    Example:
        >>> digest_of(b"\\xff\\xd8").hex()
        'be54d42af95c61c195abf548a17ff9aa'
    """
    if isinstance(image, (bytes, bytearray)):
        return _digester(image).digest()
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, np.ndarray):
        digest = _digester(f"array {image.dtype.str} {list(image.shape)}\0".encode())
        digest.update(np.ascontiguousarray(image).data)
        return digest.digest()
    return digest_of_file(Path(image))


def digest_of_file(path: Path) -> bytes:
    """The digest of a file's bytes; a file that can't be read counts by its name."""
    return read_digest(path).digest


def read_digest(path: Path, clock_ns: Callable[[], int] = time.time_ns) -> ReadFile:
    """Read a file for its digest, with the stat values that show whether it changes later."""
    started_ns, digest, count = clock_ns(), _digester(), 0
    try:
        descriptor = os.open(path, _READ_FLAGS)
        try:
            before = os.fstat(descriptor)
            if not S_ISREG(before.st_mode):
                return ReadFile(unreadable(path.name), None, started_ns)
            while data := os.read(descriptor, min(max(before.st_size - count, 0) + 1, _READ_BYTES)):
                digest.update(data)
                count += len(data)
            found = FileStat.of(before)
            is_same = FileStat.of(os.fstat(descriptor)) == found and count == found.size
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        # Decoding reports or skips an unreadable file; here it only has to count as itself.
        return ReadFile(unreadable(path.name), None, started_ns)
    return ReadFile(digest.digest(), found if is_same else None, started_ns)


def unreadable(name: str) -> bytes:
    """What counts in place of the digest of an image that can't be read."""
    return _UNREADABLE + name.encode(errors="surrogateescape")


def is_unreadable(digest: bytes) -> bool:
    """Whether this is from `unreadable`; its length may be that of a digest."""
    return digest.startswith(_UNREADABLE)


def _of_pillow(image: Image.Image) -> bytes:
    image.load()
    about = [image.mode, *map(str, image.size), *(repr(image.info.get(key)) for key in _OF_METADATA)]
    palette = image.palette.getdata() if image.palette is not None else ("", b"")
    digest = _digester("\0".join(["pillow", *about, repr(palette), ""]).encode())
    digest.update(image.tobytes())
    return digest.digest()


def _digester(data: bytes | bytearray = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)
