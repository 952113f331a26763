"""How fast a backbone is on this machine, by a short run: forward passes, and the decoding of its images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import torch

from breedclf.data.image_source import EncodedImages, ViewDataset
from breedclf.data.split import SplitImages
from breedclf.features.extraction import FeatureExtractor
from breedclf.runtime.machine import available_cores

_SECONDS = 0.5
_MOST_PASSES = 8
_DECODED = 8


@dataclass(frozen=True)
class Speed:
    """Seconds per image: of the forward pass alone, and of a pass over image files, which decodes them as well."""

    forward_seconds: float
    pass_seconds: float

    @property
    def images_per_second(self) -> float:
        """Images per second through the network."""
        return 1 / self.forward_seconds


def measured_speed(
    extractor: FeatureExtractor, images: SplitImages, clock: Callable[[], float] = time.perf_counter
) -> Speed:
    """Time forward passes of random images for half a second, with one that warms up, and the decoding of a few.

    The fastest pass counts as the backbone's speed, since other programs only make it slower; a pass over image files
    is expected to be as slow as the mean.
    """
    count, preprocessing, compute = extractor.chunk_size, extractor.preprocessing, extractor.compute
    side = preprocessing.crop_px
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    backbone, pixels = extractor.backbone, pixels.to(compute.device)

    def forward() -> float:
        started = clock()
        with torch.inference_mode():
            backbone(preprocessing.normalize(pixels, compute.dtype)).cpu()  # waits for a GPU
        return clock() - started

    spent, passes = forward(), list[float]()
    while not passes or (spent < _SECONDS and len(passes) < _MOST_PASSES):
        passes.append(forward())
        spent += passes[-1]
    decoding = _decoding(extractor, images, clock) / available_cores()
    return Speed(min(passes) / count, mean(passes) / count + decoding)


def _decoding(extractor: FeatureExtractor, images: SplitImages, clock: Callable[[], float]) -> float:
    """Seconds per image to read, decode and crop it in one thread, over a few of the images."""
    some = range(0, len(images), max(1, len(images) // _DECODED))[:_DECODED]
    dataset = ViewDataset(EncodedImages(images), some, extractor.preprocessing, 0, 0)
    started = clock()
    for position in range(len(some)):
        dataset[position]
    return (clock() - started) / max(1, len(some))
