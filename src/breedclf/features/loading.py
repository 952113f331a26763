"""Images in chunks for the backbone: decoded by DataLoader workers, by threads, or on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from breedclf.data.device_decoding import DeviceChunks, DevicePreprocessing
from breedclf.data.image_source import Chunk, ImageSource, LoadedChunks, ThreadedChunks, ViewDataset
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import SplitImages
from breedclf.runtime.device import LoaderSettings, loader_settings, shared_memory_bytes
from breedclf.runtime.machine import available_cores
from breedclf.runtime.timers import StepTimer
from breedclf.runtime.workers import check_may_start, may_start_processes


def loader_for(
    device: torch.device, crop_px: int, chunk_size: int, *, workers: int | None, pin_memory: bool
) -> LoaderSettings:
    """How to load images on this machine, in chunks of `chunk_size` uint8 [3, crop_px, crop_px] each.

    Raises:
        ConfigError: `workers` are requested where no processes can be started.
    """
    check_may_start(workers)
    return loader_settings(
        device=device.type,
        cores=available_cores(),
        shared_memory_bytes=shared_memory_bytes(),
        batch_bytes=chunk_size * 3 * crop_px**2,
        workers=workers,
        pin_memory=pin_memory,
        may_start_processes=may_start_processes(),
    )


def loaded_chunks(
    images: ImageSource,
    indices: Sequence[int] | None,
    preprocessing: Preprocessing,
    view: int,
    view_seed: int,
    chunk_size: int,
    settings: LoaderSettings,
    timer: StepTimer,
) -> Iterable[Chunk]:
    """One view of the images at `indices` (None: all), decoded by threads or DataLoader workers, as `settings` say."""
    timer.loader(settings.threads or settings.workers, chunk_size, settings.pin_memory)
    dataset = ViewDataset(images, indices, preprocessing, view, view_seed)
    if settings.threads:
        return ThreadedChunks(dataset, chunk_size, settings.threads)
    return LoadedChunks(dataset, chunk_size, settings)


def device_chunks(
    images: SplitImages,
    indices: Sequence[int] | None,
    preprocessing: Preprocessing,
    view: int,
    view_seed: int,
    chunk_size: int,
    device: torch.device,
    timer: StepTimer,
) -> Iterable[Chunk]:
    """The same, decoded and cropped on a CUDA device."""
    threads = available_cores()
    timer.loader(threads, chunk_size, pin_memory=False)
    return DeviceChunks(
        images,
        range(len(images)) if indices is None else indices,
        DevicePreprocessing(**preprocessing.model_dump()),
        device,
        chunk_size,
        threads,
        view,
        view_seed,
    )
