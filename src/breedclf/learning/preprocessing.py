"""From an upright RGB picture to the network's input: the crop on uint8, the normalisation on the device."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image

from breedclf.config import Settings

if TYPE_CHECKING:
    pass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_MIN_AREA_SHARE, _MAX_AREA_SHARE = 0.35, 1.0
_MAX_ASPECT = 4 / 3
_MAX_KEPT_ASPECT = 64


class Preprocessing(Settings):
    """How pictures become inputs; it belongs to the weights and travels with the model.

    The shorter side is scaled to `resize_px` (antialiased), the central `crop_px` square is kept, and each channel is
    shifted by `mean` and divided by `std`, both for values from 0 to 1.
    """

    resize_px: int = 256
    crop_px: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def view(self, picture: Image.Image, view: int, *, seed: int = 0, index: int = 0) -> torch.Tensor:
        """Return view number `view` as uint8 [3, crop_px, crop_px].

        View 0 is the plain central crop of evaluation. The others are random crops, possibly mirrored, drawn by
        (`seed`, `view`, `index`) alone: the same picture gives the same view in every run.
        """
        if view == 0:
            return _as_tensor(self._central(picture))
        return _as_tensor(self._random(picture, random.Random(f"{seed}/{view}/{index}")))

    def normalise(self, pictures: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Turn uint8 [N, 3, H, W] into the network's input on the same device, channels last."""
        scale = 255.0 * pictures.new_tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        shift = 255.0 * pictures.new_tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        floats = pictures.to(torch.float32, memory_format=torch.channels_last)
        return floats.sub_(shift).div_(scale).to(dtype)

    def _central(self, picture: Image.Image) -> Image.Image:
        picture = _without_far_ends(picture)
        width, height = picture.size
        short = min(width, height)
        width, height = int(self.resize_px * width / short), int(self.resize_px * height / short)
        resized = picture.resize((width, height), _RESAMPLING[self.interpolation])
        left, top = round((width - self.crop_px) / 2), round((height - self.crop_px) / 2)
        return resized.crop((left, top, left + self.crop_px, top + self.crop_px))

    def _random(self, picture: Image.Image, draw: random.Random) -> Image.Image:
        width, height = picture.size
        area = width * height * draw.uniform(_MIN_AREA_SHARE, _MAX_AREA_SHARE)
        aspect = draw.uniform(1 / _MAX_ASPECT, _MAX_ASPECT)
        box_width, box_height = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
        left, top = draw.uniform(0, width - box_width), draw.uniform(0, height - box_height)
        box = (left, top, left + box_width, top + box_height)
        crop = picture.resize((self.crop_px, self.crop_px), _RESAMPLING[self.interpolation], box=box)
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else crop


def _without_far_ends(picture: Image.Image) -> Image.Image:
    """A line of one by a million pixels, scaled to the crop's height, would fill the memory; its ends aren't seen."""
    width, height = picture.size
    longest = _MAX_KEPT_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return picture.crop((left, top, left + min(width, longest), top + min(height, longest)))


def _as_tensor(picture: Image.Image) -> torch.Tensor:
    # By numpy: torch would copy on all cores, and a second thread that does so slows the network in the first one down.
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())
