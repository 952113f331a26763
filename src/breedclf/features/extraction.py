"""Features of images: the frozen backbone run over a list of them, once per view or again for every batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from breedclf.data.device_decoding import PIXELS as DEVICE_PIXELS
from breedclf.data.image_source import Chunk, EncodedImages, ImageSource
from breedclf.data.preprocessing import PIXELS, Preprocessing
from breedclf.errors import DataError
from breedclf.features.cache import FORMAT, FeatureCache, Features, unreadable_image
from breedclf.features.loading import device_chunks, loaded_chunks, loader_for
from breedclf.files.file_cache import cache_key
from breedclf.runtime.device import Compute, LoaderSettings
from breedclf.runtime.progress import progress_bar
from breedclf.runtime.timers import NO_TIMER, StepTimer

log: logging.Logger = logging.getLogger(__name__)

TORCH = "torch-fused"


def _ignore(_done: int) -> None:
    pass


@dataclass(frozen=True)
class StoredFeatures:
    """Features [N, ...] in memory, on any device, with targets int64 [N]; batches are moved to the targets' device.

    `kept` is int64 [N], the positions of the readable ones among the images; empty if unknown.
    """

    values: torch.Tensor
    targets: torch.Tensor
    kept: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.split(rows, batch_size):
            yield self.values[batch].to(self.targets.device), self.targets[batch]


@dataclass(frozen=True)
class FeatureExtractor:
    """The frozen backbone with everything that determines its output.

    Args:
        make_backbone: builds the backbone, from normalized images [N, 3, H, W] to features [N, D], at the first image.
        preprocessing: resizes, crops and normalizes the images.
        compute: device and precision.
        weights_fingerprint: identifies the weights in cache keys.
        chunk_size: images per forward pass.
        view_seed: seed of the random crops of views 1 and up.
        workers: DataLoader workers; None chooses for this machine.
        stop_at_bad: raise at the first unreadable image.
        timer: receives the parts of each step.
        pin_memory: copy images to a GPU from pinned memory.
        as_float32: convert the features to float32.
        engine: what computes the backbone, for cache keys.
        device_decoding: decode JPEGs on the GPU.
    """

    make_backbone: Callable[[], nn.Module]
    preprocessing: Preprocessing
    compute: Compute
    weights_fingerprint: str
    chunk_size: int
    view_seed: int = 0
    workers: int | None = None
    stop_at_bad: bool = False
    timer: StepTimer = NO_TIMER
    pin_memory: bool = True
    as_float32: bool = True
    engine: str = TORCH
    device_decoding: bool = False

    @cached_property
    def backbone(self) -> nn.Module:
        """[N, 3, H, W] to features [N, D]; never built if all features are cached."""
        backbone = self.make_backbone()
        self.timer.watch(backbone)
        return backbone

    def extract(
        self, images: ImageSource, *, view: int = 0, title: str = "features", on_chunk: Callable[[int], None] = _ignore
    ) -> Features:
        """Compute the features of every readable image in one view; `title` names the progress bar.

        `on_chunk` is called after each chunk with the number of images done; its exceptions end the extraction.

        The features go into one preallocated tensor. Small pieces between the large blocks of each chunk would keep the
        memory of these from being released.

        Raises:
            ImageError: an image can't be read, with `stop_at_bad`.
        """
        values, kept = torch.empty(0, 0), torch.empty(len(images), dtype=torch.int64)
        bad: dict[int, str] = {}
        count = 0
        with progress_bar(title, total=len(images)) as bar:
            self.timer.phase("features")
            for chunk, features in self.stream(images, view=view):
                if new := len(chunk.positions):
                    if not count:
                        values = torch.empty(len(images), *features.shape[1:], dtype=features.dtype)
                    values[count : count + new] = features
                    kept[count : count + new] = chunk.positions
                    count += new
                bad.update(chunk.bad)
                bar.update(new + len(chunk.bad))
                self.timer.step(new)
                self._maybe_stop(bad)
                on_chunk(count + len(bad))
        return Features(values[:count], kept[:count], bad)

    def readable(self, images: ImageSource, *, title: str, on_chunk: Callable[[int], None] = _ignore) -> Features:
        """Find the images that can be decoded; the features themselves stay empty.

        Raises:
            ImageError: an image can't be read, with `stop_at_bad`.
        """
        readable = torch.ones(len(images), dtype=torch.bool)
        bad: dict[int, str] = {}
        done = 0  # a bar that isn't shown doesn't count
        with progress_bar(title, total=len(images)) as bar:
            for chunk in self._chunks(images, 0, None, self.chunk_size):
                bad.update(chunk.bad)
                self._maybe_stop(bad)
                new = len(chunk.positions) + len(chunk.bad)
                done += new
                bar.update(new)
                on_chunk(done)
        readable[list(bad)] = False
        return Features(torch.empty(0, 0), readable.nonzero().flatten(), bad)

    def stream(
        self,
        images: ImageSource,
        *,
        view: int = 0,
        indices: Sequence[int] | None = None,
        chunk_size: int | None = None,
    ) -> Iterator[tuple[Chunk, torch.Tensor]]:
        """Chunks of the images at `indices` (None: all), with their features [N, D] on the device.

        The chunks' positions refer to `indices`.
        """
        device, dtype = self.compute.device, self.compute.dtype
        for chunk in self._chunks(images, view, indices, chunk_size or self.chunk_size):
            self.timer.lap("data_wait")
            self.timer.loading(len(chunk.positions), *chunk.seconds)
            if not len(chunk.positions):
                yield chunk, torch.empty(0, 0)
                continue
            with torch.inference_mode():
                on_device = chunk.images.to(device, non_blocking=chunk.images.is_pinned())
                self.timer.lap("to_device")
                features: torch.Tensor = self.backbone(self.preprocessing.normalize(on_device, dtype))
                features = features.float() if self.as_float32 else features
                self.timer.lap("forward")
            yield chunk, features

    def key(self, fingerprint: str, view: int) -> str:
        """The cache key for one view of the images with this fingerprint."""
        return cache_key(
            data=fingerprint,
            weights=self.weights_fingerprint,
            preprocessing=self.preprocessing.model_dump(mode="json"),
            precision=self.compute.precision,
            engine=f"{self._engine()}-{self._pixels()}-{self.compute.device.type}-{torch.__version__}-{self.chunk_size}",
            view=[view, self.view_seed if view else 0],
            format=FORMAT,
        )

    def _engine(self) -> str:
        """What else may change the last digits of a feature."""
        compute = self.compute
        layout = "" if compute.channels_last else "-contiguous"
        return self.engine + layout + ("-compiled" if compute.compiled else "")

    def _pixels(self) -> str:
        return DEVICE_PIXELS if self.device_decoding else PIXELS

    def _maybe_stop(self, bad: dict[int, str]) -> None:
        if bad and self.stop_at_bad:
            raise unreadable_image(next(iter(bad.values())))

    def _chunks(
        self, images: ImageSource, view: int, indices: Sequence[int] | None, chunk_size: int
    ) -> Iterable[Chunk]:
        settings = self.loader(chunk_size)
        if self.device_decoding and isinstance(images, EncodedImages):
            return device_chunks(
                images.images,
                indices,
                self.preprocessing,
                view,
                self.view_seed,
                chunk_size,
                self.compute.device,
                self.timer,
            )
        return loaded_chunks(
            images, indices, self.preprocessing, view, self.view_seed, chunk_size, settings, self.timer
        )

    def loader(self, chunk_size: int) -> LoaderSettings:
        """How images are loaded on this machine, in chunks of `chunk_size`.

        Raises:
            ConfigError: `workers` are requested where no processes can be started.
        """
        return loader_for(
            self.compute.device,
            self.preprocessing.crop_px,
            chunk_size,
            workers=self.workers,
            pin_memory=self.pin_memory,
        )


@dataclass(frozen=True)
class StreamedFeatures:
    """Features computed again for every batch; nothing is cached.

    `kept` is int64 [N], the positions of the readable ones among `images`; `targets` is int64 [N].
    """

    extractor: FeatureExtractor
    images: ImageSource
    kept: torch.Tensor
    targets: torch.Tensor
    view: int = 0

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        indices = self.kept[rows].tolist()
        for chunk, features in self.extractor.stream(
            self.images, view=self.view, indices=indices, chunk_size=batch_size
        ):
            if chunk.bad:
                raise DataError(f"an image became unreadable during training: {next(iter(chunk.bad.values()))}")
            # A clone outside inference mode: the head's backward pass needs ordinary tensors.
            yield features.clone(), self.targets[rows[chunk.positions]]


def features_of(
    extractor: FeatureExtractor,
    images: ImageSource,
    *,
    view: int,
    title: str,
    cache: FeatureCache | None = None,
    fingerprint: str = "",
    on_chunk: Callable[[int], None] = _ignore,
) -> Features:
    """Features of one view of the images; with a cache, from there or computed and cached under their fingerprint."""
    key = extractor.key(fingerprint, view)

    def compute() -> Features:
        log.info("%s: %d images through the backbone", title, len(images))
        return extractor.extract(images, view=view, title=title, on_chunk=on_chunk)

    return compute() if cache is None else cache.get_or_compute(key, compute)
