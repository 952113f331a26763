"""Features of a list of images, and what to do about unreadable ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from breedclf.config import OnBadImage
from breedclf.errors import DataError, ImageError


@dataclass(frozen=True)
class Features:
    """Features of the readable images of a list.

    `values` is float32 [N, D]; `kept` is int64 [N], the position of each row's image in the list; `bad` maps the
    positions of unreadable images to the reason.
    """

    values: torch.Tensor
    kept: torch.Tensor
    bad: dict[int, str]

    def left_out(self, on_bad_image: OnBadImage) -> list[str]:
        """The reasons why images are left out, in the order of the images.

        Raises:
            ImageError: an image is unreadable, and `on_bad_image` is "error".
            DataError: all images are unreadable.
        """
        return reasons_of(self.bad, len(self.kept), on_bad_image)


def reasons_of(bad: Mapping[int, str], readable: int, on_bad_image: OnBadImage) -> list[str]:
    """As `Features.left_out`, of the unreadable images with their positions and the number of the others."""
    reasons = [bad[position] for position in sorted(bad)]
    if reasons and on_bad_image == "error":
        raise unreadable_image(reasons[0])
    if not readable:
        raise DataError(f"none of the {len(reasons)} images can be read; the first: {reasons[0]}")
    return reasons


def unreadable_image(reason: str) -> ImageError:
    """The error for an image that can't be read, with what to do about it."""
    return ImageError(
        f"{reason}; remove the image, or skip unreadable images with --on-bad-image skip "
        "(breedclf data check DIR lists all of them)"
    )
