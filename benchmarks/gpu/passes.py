"""The feature pass against the bare forward rate of the same network, and how long the GPU waits for images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.networks import backbone, forward_rate, weights
from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.plan import batch_sizes
from benchmarks.gpu.timing import WaitTimer, halved_until_it_fits
from breedclf.data.decoded_cache import ImageCache
from breedclf.data.image_source import EncodedImages, ImageSource
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.features.extraction import FeatureExtractor
from breedclf.models.network import frozen_backbone
from breedclf.runtime.device import compute_for

_WARM_UP_CHUNKS = 3


def run(setup: Setup, notes: Notes) -> None:
    rates: dict[str, float] = {}
    notes.measure("bare forward passes, images per second", lambda: bare(setup, rates))
    small, large = (list_of(folder) for folder in (setup.images, setup.large_images))
    for chunk in setup.sizes.chunks:
        for name, files in (("500x400", small), ("2000x1500", large)):
            title = f"{name}, chunks of {chunk}"
            notes.measure(f"{title}, CPU decoding", lambda f=files, c=chunk: one(setup, f, c, rates))
            notes.measure(
                f"{title}, nvJPEG",
                lambda f=files, c=chunk: one(setup, f, c, rates, device_decoding=True),
                needs_cuda=True,
            )
    notes.measure("500x400, decoded cache", lambda: from_cache(setup, small, rates))


def bare(setup: Setup, rates: dict[str, float]) -> dict[str, float]:
    """Images per second by batch; also filled into `rates`."""
    network, compute = backbone(setup)
    larger = batch_sizes(torch.cuda.mem_get_info()[0]) if setup.on_gpu else []
    for wanted in sorted({*larger, *setup.sizes.chunks}):
        batch, rate = halved_until_it_fits(lambda size: forward_rate(setup, network, size, compute.dtype), wanted)
        rates[str(batch)] = rate
    return rates


def list_of(folder: Path) -> ImageFiles:
    return ImageFiles(sorted((folder / "train").rglob("*.jpg")))


def extractor(setup: Setup, chunk: int, timer: WaitTimer, *, device_decoding: bool = False) -> FeatureExtractor:
    """breedclf's own, with random weights."""
    compute, state = compute_for(setup.device, "auto"), weights(setup)
    crop = setup.sizes.crop_px
    return FeatureExtractor(
        make_backbone=lambda: frozen_backbone(setup.sizes.architecture, state, compute),
        preprocessing=Preprocessing(crop_px=crop, resize_px=crop * 256 // 224),
        compute=compute,
        weights_fingerprint="drawn",
        chunk_size=chunk,
        timer=timer,
        device_decoding=device_decoding,
    )


def one(
    setup: Setup, files: ImageFiles, chunk: int, rates: Mapping[str, float], *, device_decoding: bool = False
) -> dict[str, Any]:
    """A pass over files, after a short one that warms everything up."""
    timer = WaitTimer()
    ours = extractor(setup, chunk, timer, device_decoding=device_decoding)
    ours.extract(EncodedImages(ImageFiles(files.paths[: _WARM_UP_CHUNKS * chunk])))
    return _pass(ours, EncodedImages(files), timer, rates)


def from_cache(setup: Setup, files: ImageFiles, rates: Mapping[str, float]) -> dict[str, Any]:
    """A pass over images that were decoded and scaled before."""
    timer = WaitTimer()
    ours = extractor(setup, setup.sizes.chunks[-1], timer)
    cache = ImageCache.at(setup.folder / "decoded", preprocessing=ours.preprocessing)
    prepared = cache.prepared(files, "generated")
    replace(ours).extract(prepared)
    return _pass(ours, prepared, timer, rates)


def _pass(
    extractor: FeatureExtractor, images: ImageSource, timer: WaitTimer, rates: Mapping[str, float]
) -> dict[str, Any]:
    found = extractor.extract(images)
    summary: dict[str, Any] = timer.phases["features", 0].summary()
    bare_rate = rates.get(str(extractor.chunk_size))
    share = None if bare_rate is None else summary["images_per_second"] / bare_rate
    return {
        **summary,
        "share_of_the_bare_forward_rate_at_this_batch": share,
        "unreadable": len(found.bad),
        "precision": extractor.compute.precision,
        "loader": loader_of(extractor),
    }


def loader_of(extractor: FeatureExtractor) -> dict[str, Any]:
    settings = extractor.loader(extractor.chunk_size)
    return {"workers": settings.workers, "threads": settings.threads, "pinned": settings.pin_memory}
