"""Images as callers give them: paths, bytes, open files, PIL images, arrays and tensors. Loads no torch."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard, Union, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from breedclf.data.images import MAX_FILE_BYTES, as_path, image_from_array, load_opened
from breedclf.errors import ImageError, ImageTooLargeError
from breedclf.files.paths import user_path

if TYPE_CHECKING:
    import torch


class BinaryFile(Protocol):
    """A file opened in binary mode, a `BytesIO`, or anything else whose `read` returns bytes."""

    def read(self, size: int = ..., /) -> bytes: ...


AnyImage = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryFile, Image.Image, NDArray[np.uint8], "torch.Tensor"
]
"""A path, the bytes of a file, a file opened in binary mode, a PIL image, a uint8 array [height, width] or
[height, width, 3 or 4], or a uint8 tensor [1 or 3, height, width]."""

GivenImage = Path | bytes | Image.Image
"""What every `AnyImage` is brought to."""

ACCEPTED = (
    "a path, the bytes of a file, a file opened in binary mode, a PIL image, "
    "a uint8 array [height, width] or [height, width, 3 or 4], or a uint8 tensor [1 or 3, height, width]"
)
_CHUNK_BYTES = 1 << 20


def is_one_image(value: object) -> TypeGuard[AnyImage]:
    """Whether this is an image, rather than several of them."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, io.IOBase)
    return isinstance(value, kinds) or _is_tensor(value) or hasattr(value, "read")


def several_images(value: object) -> Iterable[AnyImage]:
    """Check that these are several images: anything that can be iterated over and keeps an order.

    Raises:
        ImageError: it is one image, a mapping, a set, or can't be iterated over.
    """
    if is_one_image(value):
        raise ImageError(f"one image ({type(value).__name__}) is given where several are expected: put it into a list")
    if isinstance(value, Mapping | set | frozenset) or not isinstance(value, Iterable):
        unordered = ", which has no order" if isinstance(value, Set) else ""
        raise ImageError(
            f"{type(value).__name__} is neither an image nor several{unordered}: give {ACCEPTED}; or a list, a "
            "generator or another iterable of these"
        )
    return cast("Iterable[AnyImage]", value)


def given_image(image: object, *, copy: bool = False) -> GivenImage:
    """A path, the bytes of a file, or a loaded PIL image; open files are read from their beginning if they can seek.

    Args:
        image: what a caller gives.
        copy: copy pixels in memory, which the caller may change afterwards.

    Raises:
        ImageError: it is none of what is accepted, or can't be read.
        ConfigError: it is an empty path.
    """
    match image:
        case str() | os.PathLike():
            as_path(text := os.fsdecode(image))
            return user_path(text, "image")
        case bytes():
            return image
        case bytearray() | memoryview():
            return bytes(image)
        case Image.Image():
            load_opened(image)
            return image.copy() if copy else image
        case np.ndarray():
            return image_from_array(image.copy() if copy else image)
    if _is_tensor(image):
        return _image_from_tensor(image)
    if isinstance(image, io.IOBase) or hasattr(image, "read"):
        return _contents(image)
    raise ImageError(f"an image must be {ACCEPTED}, not {type(image).__name__}")


def _is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Whether it is a torch.Tensor; without torch in this process, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _image_from_tensor(tensor: torch.Tensor) -> Image.Image:
    fits = tensor.ndim == 3 and tensor.shape[0] in (1, 3) and tensor.numel() > 0
    if str(tensor.dtype) != "torch.uint8" or not fits:
        raise ImageError(
            f"a tensor must be uint8 [1 or 3, height, width], not {str(tensor.dtype).removeprefix('torch.')} "
            f"{list(tensor.shape)}; give several images as a list, and normalized inputs to torch_module()"
        )
    array = tensor.cpu().numpy()
    return Image.fromarray(array[0].copy() if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _contents(file: object) -> bytes:
    name = getattr(file, "name", None)
    shown = name if isinstance(name, str) else "the given file"
    if isinstance(file, io.TextIOBase):
        raise ImageError(f'{shown} can\'t be read: it is opened in text mode; open it with mode "rb"')
    opened, parts, size = cast("io.BufferedIOBase", file), [], 0
    try:
        if getattr(file, "seekable", bool)():
            opened.seek(0)
        while part := opened.read(_CHUNK_BYTES):
            if not isinstance(part, bytes):
                raise ImageError(f"{shown} can't be read: its read() returns {type(part).__name__}, not bytes")
            parts.append(part)
            size += len(part)
            if size > MAX_FILE_BYTES:
                raise ImageTooLargeError(f"{shown} can't be decoded: it has more than {MAX_FILE_BYTES:,} bytes")
    except (OSError, ValueError, TypeError) as error:  # ValueError: it is closed
        raise ImageError(f"{shown} can't be read: {error or type(error).__name__}") from error
    return b"".join(parts)
