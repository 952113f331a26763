"""Features of images, and their cache on disk: an image passes the frozen backbone only once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from breedclf.config import OnBadImage
from breedclf.errors import DataError, ImageError
from breedclf.files.file_cache import FileCache
from breedclf.files.tensor_files import checksum, save_tensors

FORMAT = "2"


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
        reasons = [self.bad[position] for position in sorted(self.bad)]
        if reasons and on_bad_image == "error":
            raise unreadable_image(reasons[0])
        if not len(self.kept):
            raise DataError(f"none of the {len(reasons)} images can be read; the first: {reasons[0]}")
        return reasons


def unreadable_image(reason: str) -> ImageError:
    """The error for an image that can't be read, with what to do about it."""
    return ImageError(
        f"{reason}; remove the image, or skip unreadable images with --on-bad-image skip "
        "(breedclf data check DIR lists all of them)"
    )


class FeatureCache(FileCache[Features]):
    """Features as safetensors, with a checksum of the features, the positions, the reasons and the cache key."""

    what = "features"
    suffix = ".safetensors"

    def _read(self, path: Path) -> Features | None:
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("values", "kept")}
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if about["checksum"] != _checksum(path, about["bad"], tensors):
            return None
        return Features(**tensors, bad={int(at): why for at, why in json.loads(about["bad"]).items()})

    def _write(self, temporary: Path, path: Path, computed: Features) -> Features:
        tensors = {"values": computed.values, "kept": computed.kept}
        bad = json.dumps({str(at): why for at, why in computed.bad.items()})
        save_tensors(tensors, temporary, {"checksum": _checksum(path, bad, tensors), "bad": bad})
        return computed


def _checksum(path: Path, bad: str, tensors: dict[str, torch.Tensor]) -> str:
    return checksum(f"{FORMAT} {path.stem} {bad}", tensors)
