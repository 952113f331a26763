"""Converts image files of requests to the network's input, and estimates the work; errors are request errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from breedclf.data.decoding import decode_image
from breedclf.data.formats.cost import check_cost
from breedclf.data.images import sniff_format
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ImageError, ImageTooCostlyError, ImageTooLargeError
from breedclf.serving.core import Limits, RequestError

_NAME = "the image"


def network_input(image: bytes, preprocessing: Preprocessing, limits: Limits) -> torch.Tensor:
    """Decode an image file to the network's input, uint8 [3, crop, crop].

    Raises:
        RequestError: 400 if it is damaged, 422 if it has too many pixels or is too expensive to decode.
    """
    with _request_errors():
        opened = decode_image(
            image,
            _NAME,
            max_pixels=limits.max_pixels,
            enough_px=preprocessing.enough_px(0),
            color=preprocessing.color,
        )
        return preprocessing.view(opened, 0)


def work_of(image: bytes, limits: Limits) -> int:
    """The work of decoding, in pixel visits; 0 if the file is too damaged to estimate it.

    Raises:
        RequestError: 422 if it is unreasonably high.
    """
    with _request_errors():
        return check_cost(image, sniff_format(image) or "", _NAME, max_pixels=limits.max_pixels).work


@contextmanager
def _request_errors() -> Iterator[None]:
    try:
        yield
    except ImageTooCostlyError as error:
        raise RequestError(422, "TooCostly", _short(error)) from error
    except ImageTooLargeError as error:
        raise RequestError(422, "TooManyPixels", _short(error)) from error
    except ImageError as error:
        raise RequestError(400, "BadImage", _short(error)) from error
    except MemoryError as error:
        raise RequestError(422, "TooManyPixels", "there isn't enough memory for the image") from error


def _short(error: ImageError) -> str:
    message = ascii(str(error))[1:-1]
    return message if len(message) <= 300 else message[:300] + "..."
