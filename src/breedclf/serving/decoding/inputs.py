"""From an image file in a request to the network's input, and what that will cost; errors as a client is told them."""

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


def network_input(picture: bytes, preprocessing: Preprocessing, limits: Limits) -> torch.Tensor:
    """An image file as the network's input, uint8 [3, crop, crop].

    Raises:
        RequestError: 400 when it is damaged, 422 when it has too many pixels or costs too much to decode.
    """
    with _told_to_the_client():
        opened = decode_image(
            picture,
            _NAME,
            max_pixels=limits.max_pixels,
            enough_px=preprocessing.enough_px(0),
            color=preprocessing.color,
        )
        return preprocessing.view(opened, 0)


def work_of(picture: bytes, limits: Limits) -> int:
    """The pixel visits that decoding takes; 0 for a file that is too damaged to tell.

    Raises:
        RequestError: 422 when that is more than any honest image takes.
    """
    with _told_to_the_client():
        return check_cost(picture, sniff_format(picture) or "", _NAME, max_pixels=limits.max_pixels).work


@contextmanager
def _told_to_the_client() -> Iterator[None]:
    try:
        yield
    except ImageTooCostlyError as error:
        raise RequestError(422, "TooCostly", _short(error)) from error
    except ImageTooLargeError as error:
        raise RequestError(422, "TooManyPixels", _short(error)) from error
    except ImageError as error:
        raise RequestError(400, "BadImage", _short(error)) from error
    except MemoryError as error:
        raise RequestError(422, "TooManyPixels", "the image needs more memory than there is") from error


def _short(error: ImageError) -> str:
    message = ascii(str(error))[1:-1]
    return message if len(message) <= 300 else message[:300] + "..."
