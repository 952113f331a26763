"""Turn an upright RGB image into the network's input: crop it as uint8, normalize it on the device."""

from __future__ import annotations

import math
import random
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field

from breedclf.config import Settings
from breedclf.data.decoding import as_image, as_tensor
from breedclf.data.formats.color import Color

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PIXELS = "uint8-2"
"""The version of decoding and cropping; change it whenever pixels change, since it is part of cache keys."""

MIRROR_VIEW = -1
"""The number of the view that is the central crop mirrored left to right."""

MAX_PX = 2048
"""The largest crop and scaled image; a ResNet-50 takes some seconds for one image of this size."""

_Mean = Annotated[float, Field(ge=0, le=1)]
_Deviation = Annotated[float, Field(ge=0.001, le=1000)]
Box = tuple[float, float, float, float]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_MIN_AREA_SHARE, _MAX_AREA_SHARE = 0.35, 1.0
_MAX_ASPECT = 4 / 3
_MAX_KEPT_ASPECT = 64


class Preprocessing(Settings):
    """How images become inputs; it belongs to the weights and is stored with the model.

    The shorter side is scaled to `resize_px` (antialiased) and cropped to the central `crop_px` square; each channel
    is then shifted by `mean` and divided by `std`, both for values from 0 to 1. With `dct_scaling`, a JPEG that is at
    least twice as large as needed is decoded smaller, which changes pixels by up to 16 levels, one on average. With
    `color` "srgb", images whose profile is far from sRGB are converted; older models use the colors "as_stored".

    Raises:
        ConfigError: a side isn't 1 to 2,048 px, a mean not 0 to 1, or a deviation not 0.001 to 1,000.
    """

    resize_px: int = Field(default=256, ge=1, le=MAX_PX)
    crop_px: int = Field(default=224, ge=1, le=MAX_PX)
    mean: tuple[_Mean, _Mean, _Mean] = IMAGENET_MEAN
    std: tuple[_Deviation, _Deviation, _Deviation] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    dct_scaling: bool = False
    color: Color = "as_stored"

    def enough_px(self, view: int) -> int | None:
        """The shorter side in pixels that a decoded image needs for a view; None if it must have its full size."""
        if not self.dct_scaling:
            return None
        return self.resize_px if view <= 0 else math.ceil(self.crop_px / _MIN_AREA_SHARE**0.5)

    def view(self, image: Image.Image | torch.Tensor, view: int, *, seed: int = 0, digest: bytes = b"") -> torch.Tensor:
        """Return view number `view` of an upright image (RGB, or uint8 [3, H, W]) as uint8 [3, crop_px, crop_px].

        View 0 is the central crop that evaluation uses, and view -1 its mirror image. The others are random crops,
        possibly mirrored, that depend on (`seed`, `view`, `digest`) only: an image with the same content has the same
        view in every dataset and run.
        """
        if view <= 0:
            crop = self._central(as_tensor(image) if isinstance(image, Image.Image) else image)
            return crop.flip(2) if view == MIRROR_VIEW else crop
        image = as_image(image) if isinstance(image, torch.Tensor) else image
        box, mirrored = self.box(*image.size, view, seed, digest)
        return as_tensor(self._random(image, box, mirrored=mirrored)).contiguous()

    def normalize(self, images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Turn uint8 [N, 3, H, W] into the network's input on the same device, channels last."""
        scale = 255.0 * images.new_tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        shift = 255.0 * images.new_tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        return floats.sub_(shift).div_(scale).to(dtype)

    def scaled(self, image: torch.Tensor) -> torch.Tensor:
        """The image, uint8 [3, H, W], scaled so that its shorter side is `resize_px`."""
        image = _without_far_ends(image)
        height, width = image.shape[1:]
        short = min(width, height)
        if short == self.resize_px:
            return image
        return self._resized(image, int(self.resize_px * width / short), int(self.resize_px * height / short))

    def _central(self, image: torch.Tensor) -> torch.Tensor:
        resized = self.scaled(image)
        height, width = resized.shape[1:]
        left, top = round((width - self.crop_px) / 2), round((height - self.crop_px) / 2)
        if min(left, top) < 0:
            beside, above = max(0, -left), max(0, -top)
            resized = F.pad(resized, (beside, beside + 1, above, above + 1))
            left, top = left + beside, top + above
        return resized[:, top : top + self.crop_px, left : left + self.crop_px].contiguous()

    def _resized(self, image: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Resize as Pillow does; bilinear by torch, which is several times faster and equal to within one level."""
        if self.interpolation == "bilinear":
            return F.interpolate(image[None], size=(height, width), mode="bilinear", antialias=True)[0]
        return as_tensor(as_image(image).resize((width, height), _RESAMPLING[self.interpolation]))

    def box(self, width: int, height: int, view: int, seed: int, digest: bytes) -> tuple[Box, bool]:
        """The (left, top, right, bottom) of a random view of an image of that size, and whether it is mirrored."""
        draw = random.Random(f"{seed}/{view}/{digest.hex()}")
        area = width * height * draw.uniform(_MIN_AREA_SHARE, _MAX_AREA_SHARE)
        aspect = draw.uniform(1 / _MAX_ASPECT, _MAX_ASPECT)
        box_width, box_height = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
        left, top = draw.uniform(0, width - box_width), draw.uniform(0, height - box_height)
        return (left, top, left + box_width, top + box_height), draw.random() < 0.5

    def _random(self, image: Image.Image, box: Box, *, mirrored: bool) -> Image.Image:
        crop = image.resize((self.crop_px, self.crop_px), _RESAMPLING[self.interpolation], box=box)
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop


def _without_far_ends(image: torch.Tensor) -> torch.Tensor:
    """Cut off the ends of extremely long images, which aren't in any crop but would fill the memory when scaled."""
    height, width = image.shape[1:]
    longest = _MAX_KEPT_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image[:, top : top + min(height, longest), left : left + min(width, longest)]
