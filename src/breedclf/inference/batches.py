"""Many images as batches of network inputs: taken from any iterator, decoded by threads, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import torch

from breedclf.data.any_image import AnyImage, GivenImage, given_image
from breedclf.data.decoding import as_image, as_tensor, decode_image
from breedclf.data.images import upright_rgb
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError, ImageError
from breedclf.runtime.machine import available_cores
from breedclf.runtime.threads import chunks_ahead

_MAX_THREADS = 16
_THUMBNAIL_PX = 240


class Input(NamedTuple):
    """One image: the crop that the network sees, uint8 [3, crop, crop], or the error; and its file, if it has one."""

    crop: torch.Tensor | None
    file: Path | None = None
    error: ImageError | None = None


class Batch(NamedTuple):
    """Consecutive images, and the crops of the readable ones, uint8 [N, 3, crop, crop]."""

    images: list[Input]
    crops: torch.Tensor


def input_of(image: GivenImage, preprocessing: Preprocessing) -> Input:
    """Decode and crop one image.

    Raises:
        ImageError: it can't be decoded.
    """
    if isinstance(image, Path | bytes):
        upright = decode_image(image, enough_px=preprocessing.enough_px(0), color=preprocessing.color)
    else:
        upright = as_tensor(upright_rgb(image, color=preprocessing.color))
    return Input(preprocessing.view(upright, 0), image if isinstance(image, Path) else None)


def thumbnail(crop: torch.Tensor) -> bytes:
    """A small JPEG of a crop; takes about 0.3 ms."""
    image, file = as_image(crop), BytesIO()
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    image.save(file, "JPEG", quality=75)
    return file.getvalue()


def batches(images: Iterable[AnyImage], preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    """Batches of `batch_size` images, the last one smaller; the next one is decoded while one is in use.

    At most two batches of images are taken from the iterator before their results are in use. What a caller may change
    afterwards, or close, is copied or read at once, unless it is in a list or tuple.
    """
    threads = min(available_cores(), _MAX_THREADS, batch_size, max(1, length_hint(images, batch_size)))
    copy = not isinstance(images, list | tuple)
    given = (_given(position, image, copy=copy) for position, image in enumerate(images))
    for chunk in chunks_ahead(partial(_input, preprocessing), given, batch_size, threads):
        yield Batch(chunk, stacked([image.crop for image in chunk if image.crop is not None], preprocessing.crop_px))


def stacked(crops: list[torch.Tensor], crop_px: int) -> torch.Tensor:
    """Crops as one tensor, which may be empty."""
    return torch.stack(crops) if crops else torch.empty(0, 3, crop_px, crop_px, dtype=torch.uint8)


def _given(position: int, image: AnyImage, *, copy: bool) -> tuple[int, GivenImage | ImageError]:
    try:
        return position, given_image(image, copy=copy)
    except (ImageError, ConfigError) as error:
        return position, _at(position, error)


def _input(preprocessing: Preprocessing, numbered: tuple[int, GivenImage | ImageError]) -> Input:
    position, image = numbered
    if isinstance(image, ImageError):
        return Input(None, error=image)
    try:
        return input_of(image, preprocessing)
    except ImageError as error:
        return Input(None, error=_at(position, error))


def _at(position: int, error: ImageError | ConfigError) -> ImageError:
    """The same error with the position of its image, counted from 0."""
    kind = type(error) if isinstance(error, ImageError) else ImageError
    located = kind(f"images[{position}]: {error}")
    located.__cause__ = error
    return located
