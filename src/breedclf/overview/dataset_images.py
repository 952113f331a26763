"""Small JPEGs of the images of a dataset, of nothing outside it, and never the whole image."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from breedclf.data.images import read_image
from breedclf.data.layout.names import is_image_name
from breedclf.errors import ImageError

SIDE_PX = 160
MAX_PIXELS = 50_000_000
"""Larger images aren't decoded for a thumbnail."""
MAX_BYTES = 64 << 20
_QUALITY = 72
_Key = tuple[str, int, int]


@dataclass
class DatasetImages:
    """Makes thumbnails, and keeps the latest ones; any number of threads may ask.

    `most` is how many are kept, each of some 5 kB.
    """

    most: int = 2_000
    _made: OrderedDict[_Key, bytes | str] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def thumbnail(self, root: str, name: str) -> bytes:
        """A JPEG of at most `SIDE_PX` pixels on each side.

        Args:
            root: the dataset's folder, or its table.
            name: the image's path relative to it.

        Raises:
            ImageError: it is no image of the dataset, or can't be read.
        """
        folder = Path(root)
        folder = folder.parent if folder.is_file() else folder
        file = path_inside(folder, name)
        with _opened(file, name) as opened:
            status = os.fstat(opened.fileno())
            key = (str(file), status.st_mtime_ns, status.st_size)
            made = self._known(key)
            if made is None:
                made = self._keep(key, _jpeg(opened.read(MAX_BYTES), name))
        if isinstance(made, str):
            raise ImageError(made)
        return made

    def _known(self, key: _Key) -> bytes | str | None:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def _keep(self, key: _Key, made: bytes | str) -> bytes | str:
        with self._lock:
            self._made[key] = made
            while len(self._made) > self.most:
                self._made.popitem(last=False)
        return made


def path_inside(root: Path, name: str) -> Path:
    """The path of an image in a folder, with all links followed.

    Raises:
        ImageError: it isn't there, its name isn't that of an image, or it is outside the folder, also through a link.
    """
    if "\0" in name or not is_image_name(name) or Path(name).is_absolute():
        raise ImageError(f"{name!r} is no image of this dataset")
    try:
        whole = (root / name).resolve(strict=True)
        inside = whole.is_relative_to(root.resolve(strict=True))
    except (OSError, RuntimeError, ValueError) as error:
        raise ImageError(f"{name} can't be read: it isn't there") from error
    if not inside:
        raise ImageError(f"{name!r} is outside this dataset")
    return whole


def shrunk(data: bytes, name: str, side_px: int = SIDE_PX) -> bytes:
    """A small JPEG of an image file.

    Raises:
        ImageError: it can't be decoded, or has more than `MAX_PIXELS` pixels.
    """
    image = read_image(data, name, max_pixels=MAX_PIXELS, color="srgb")[0].copy()
    image.thumbnail((side_px, side_px))
    image.info.clear()  # such as an ICC profile or a comment
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()


def _jpeg(data: bytes, name: str) -> bytes | str:
    """A thumbnail, or why there is none."""
    try:
        return shrunk(data, name)
    except ImageError as error:
        return str(error)


@contextmanager
def _opened(file: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file that is no link and not too large.

    Raises:
        ImageError: it isn't, or can't be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                raise ImageError(f"{name} is no file of at most {MAX_BYTES >> 20} MB")
            yield opened
    except OSError as error:
        raise ImageError(f"{name} can't be read: {error.strerror or error}") from error
