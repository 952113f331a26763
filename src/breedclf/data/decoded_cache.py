"""The cache of decoded images: decoded and scaled once, stored in one memory-mapped file, reused by later runs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from breedclf.data.formats.color import Color
from breedclf.data.image_source import EncodedImages, ImageSource, Loaded
from breedclf.data.preprocessing import PIXELS, Preprocessing
from breedclf.data.split import SplitImages
from breedclf.errors import ImageError
from breedclf.files.file_cache import FileCache, cache_key
from breedclf.runtime.machine import available_cores
from breedclf.runtime.threads import single_core_threads

FORMAT = "3"
_LENGTH_BYTES = 8
_AT_A_TIME = 64
_READ_BYTES = 1 << 24


@dataclass(frozen=True)
class PreparedImages:
    """Images whose shorter side is already scaled to `resize_px`, one after the other in a file.

    `shapes` holds the height and width of each image, `digests` the digest of its content in hexadecimal digits, `bad`
    the reasons by index for those that can't be decoded.
    """

    path: Path
    shapes: Sequence[tuple[int, int]]
    bad: dict[int, str]
    digests: Sequence[str]

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def readable(self) -> torch.Tensor:
        """Indices of the images that could be decoded, int64."""
        return torch.tensor([index for index in range(len(self)) if index not in self.bad], dtype=torch.int64)

    def load(  # the images are already scaled and in the requested colors
        self,
        index: int,
        enough_px: int | None = None,  # noqa: ARG002
        color: Color = "as_stored",  # noqa: ARG002
    ) -> Loaded:
        """Copy one image out of the file.

        Raises:
            ImageError: it couldn't be decoded when the cache was written.
        """
        if index in self.bad:
            raise ImageError(self.bad[index])
        started = time.perf_counter()
        height, width = self.shapes[index]
        pixels = np.array(self._pixels[self._starts[index] : self._starts[index + 1]])
        image, seconds = torch.from_numpy(pixels.reshape(3, height, width)), time.perf_counter() - started
        return Loaded(image, seconds, 0.0, bytes.fromhex(self.digests[index]))

    def mapped(self) -> PreparedImages:
        """Map the file into memory now, so that it can be deleted from then on."""
        assert len(self._pixels)
        return self

    def __getstate__(self) -> dict[str, Any]:  # each process maps the file itself
        return {"path": self.path, "shapes": self.shapes, "bad": self.bad, "digests": self.digests}

    @cached_property
    def _pixels(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.memmap(self.path, np.uint8, mode="r")

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((3 * height * width for height, width in self.shapes), initial=0))


@dataclass(frozen=True)
class ImageCache(FileCache[ImageSource]):
    """The cache of prepared images; an entry holds their pixels, then a JSON table with a checksum, then its length.

    The computed value is the images as they are; writing the entry decodes them. If it can't be written, they are used.
    """

    what = "images"
    suffix = ".pixels"

    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def prepared(self, images: SplitImages, fingerprint: str) -> ImageSource:
        """The images, prepared if they can be cached.

        Args:
            images: the images of a split.
            fingerprint: a hash of their contents, in that order.
        """
        preprocessing = self.preprocessing.model_dump(include={"resize_px", "interpolation", "dct_scaling", "color"})
        key = cache_key(data=fingerprint, pixels=PIXELS, format=FORMAT, **preprocessing)
        return self.get_or_compute(key, lambda: EncodedImages(images))

    def _read(self, path: Path) -> ImageSource | None:
        with path.open("rb") as file:
            end = file.seek(-_LENGTH_BYTES, os.SEEK_END)
            start = end - int.from_bytes(file.read(_LENGTH_BYTES), "big")
            if start < 0:
                return None
            file.seek(start)
            about = _table(file.read(end - start))
            parts = about["shapes"], about["bad"], about["digests"]
            if about["checksum"] != _checksum(_digest_of(file, start), path, *parts):
                return None
        return PreparedImages(
            path,
            [(height, width) for height, width in about["shapes"]],
            {int(at): why for at, why in about["bad"].items()},
            about["digests"],
        )

    def _write(self, temporary: Path, path: Path, computed: ImageSource) -> ImageSource:
        digest, shapes, bad, digests = hashlib.blake2b(digest_size=16), [], {}, []
        with temporary.open("wb") as file:
            for index, found in enumerate(self._scaled(computed)):
                if isinstance(found, ImageError):
                    bad[index] = str(found)
                    shapes.append((0, 0))
                    digests.append("")
                    continue
                image, content = found
                pixels = image.numpy().data
                digest.update(pixels)
                file.write(pixels)
                shapes.append((image.shape[1], image.shape[2]))
                digests.append(content.hex())
            checksum = _checksum(digest, path, shapes, bad, digests)
            about = {"checksum": checksum, "shapes": shapes, "bad": bad, "digests": digests}
            text = json.dumps(about).encode()
            file.write(text + len(text).to_bytes(_LENGTH_BYTES, "big"))
        return PreparedImages(path, shapes, bad, digests)

    def _opened(self, found: ImageSource) -> ImageSource:
        return found.mapped() if isinstance(found, PreparedImages) else found

    def _scaled(self, images: ImageSource) -> Iterator[tuple[torch.Tensor, bytes] | ImageError]:
        enough_px, color = self.preprocessing.enough_px(0), self.preprocessing.color

        def one(index: int) -> tuple[torch.Tensor, bytes] | ImageError:
            try:
                loaded = images.load(index, enough_px, color)
                return self.preprocessing.scaled(loaded.image).contiguous(), loaded.digest
            except ImageError as error:
                return error

        with single_core_threads(available_cores()) as pool:
            for first in range(0, len(images), _AT_A_TIME):
                yield from pool.map(one, range(first, min(first + _AT_A_TIME, len(images))))


def _checksum(
    pixels: hashlib.blake2b, path: Path, shapes: Sequence[Any], bad: Mapping[Any, str], digests: Sequence[str]
) -> str:
    """A checksum over the pixels, the table that describes them, and the key."""
    digest = pixels.copy()
    digest.update(json.dumps([FORMAT, path.stem, shapes, bad, digests]).encode())
    return digest.hexdigest()


def _table(text: bytes) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(about, dict):
        raise ValueError("it isn't a table")
    return about


def _digest_of(file: BinaryIO, size: int) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=16)
    file.seek(0)
    while size > 0 and (part := file.read(min(_READ_BYTES, size))):
        digest.update(part)
        size -= len(part)
    return digest
