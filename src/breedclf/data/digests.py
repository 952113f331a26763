"""Digests of images by content: of a file's bytes, of given bytes, or of the pixels of an array or a PIL image."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from breedclf.data.images import ImageLike

DIGEST_BYTES = 16
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
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _digester).digest()
    except (OSError, ValueError):
        # Decoding reports or skips an unreadable file; here it only has to count as itself.
        return unreadable(path.name)


def unreadable(name: str) -> bytes:
    """What counts in place of the digest of an image that can't be read."""
    return f"unreadable {name}".encode(errors="surrogateescape")


def _of_pillow(image: Image.Image) -> bytes:
    image.load()
    about = [image.mode, *map(str, image.size), *(repr(image.info.get(key)) for key in _OF_METADATA)]
    palette = image.palette.getdata() if image.palette is not None else ("", b"")
    digest = _digester("\0".join(["pillow", *about, repr(palette), ""]).encode())
    digest.update(image.tobytes())
    return digest.digest()


def _digester(data: bytes | bytearray = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)
