"""The frozen part's work: pictures through the backbone, once per view or, in the exact mode, again for every batch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from breedclf.config import OnBadImage
from breedclf.data.device_decoding import PIXELS as DEVICE_PIXELS
from breedclf.data.device_decoding import DeviceChunks, DevicePreprocessing
from breedclf.data.image_source import Chunk, ImageFiles, ImageSource, LoadedChunks, ThreadedChunks, ViewDataset
from breedclf.data.preprocessing import PIXELS, Preprocessing
from breedclf.errors import DataError, ImageError
from breedclf.features.cache import FORMAT, FeatureCache, Features
from breedclf.files.file_cache import cache_key
from breedclf.runtime.device import Compute, LoaderSettings, available_cores, loader_settings, shared_memory_bytes
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.runtime.workers import check_may_start, may_start_processes

log: logging.Logger = logging.getLogger(__name__)

TORCH = "torch-fused"
_DIGESTED_AT_A_TIME = 1024


@dataclass(frozen=True)
class StoredFeatures:
    """Features in memory, on any device: a batch is a slice, moved to where the targets are."""

    values: torch.Tensor
    targets: torch.Tensor

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.split(rows, batch_size):
            yield self.values[batch].to(self.targets.device), self.targets[batch]


@dataclass(frozen=True)
class FeatureExtractor:
    """The frozen backbone with everything that decides its output; it is made when the first picture needs it."""

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
        """[N, 3, H, W] to features [N, D]; a run whose features are all cached never makes it."""
        backbone = self.make_backbone()
        self.timer.watch(backbone)
        return backbone

    def extract(self, pictures: ImageSource, *, view: int = 0, title: str = "features") -> Features:
        """Run every readable picture through the backbone once.

        The features are written into one array made beforehand. Kept as small pieces, they would lie between the large
        blocks that each chunk takes, and keep the memory of all these from being given back.
        """
        values, kept = torch.empty(0, 0), torch.empty(len(pictures), dtype=torch.int64)
        bad: dict[int, str] = {}
        count = 0
        with tqdm(total=len(pictures), desc=title, unit="img", leave=False, disable=None) as bar:
            self.timer.phase("features")
            for chunk, features in self.stream(pictures, view=view):
                if new := len(chunk.positions):
                    if not count:
                        values = torch.empty(len(pictures), *features.shape[1:], dtype=features.dtype)
                    values[count : count + new] = features
                    kept[count : count + new] = chunk.positions
                    count += new
                bad.update(chunk.bad)
                bar.update(new + len(chunk.bad))
                self.timer.step(new)
                self._maybe_stop(bad)
        return Features(values[:count], kept[:count], bad)

    def readable(self, pictures: ImageSource, *, title: str) -> Features:
        """Which pictures can be decoded; the features themselves are left empty."""
        readable = torch.ones(len(pictures), dtype=torch.bool)
        bad: dict[int, str] = {}
        for chunk in tqdm(self._chunks(pictures, 0, None, self.chunk_size), desc=title, leave=False, disable=None):
            bad.update(chunk.bad)
            self._maybe_stop(bad)
        readable[list(bad)] = False
        return Features(torch.empty(0, 0), readable.nonzero().flatten(), bad)

    def stream(
        self,
        pictures: ImageSource,
        *,
        view: int = 0,
        indices: Sequence[int] | None = None,
        chunk_size: int | None = None,
    ) -> Iterator[tuple[Chunk, torch.Tensor]]:
        """Chunks with their features [N, D] on the device, in float32 unless as computed is wanted.

        Positions count within `indices`.
        """
        for chunk in self._chunks(pictures, view, indices, chunk_size or self.chunk_size):
            self.timer.lap("data_wait")
            self.timer.loading(len(chunk.positions), *chunk.seconds)
            yield chunk, self._forward(chunk.images) if len(chunk.positions) else torch.empty(0, 0)

    def key(self, fingerprint: str, view: int) -> str:
        """What the cache calls the features of these pictures in this view."""
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
        """What else may change a feature in its last digits."""
        compute = self.compute
        layout = "" if compute.channels_last else "-contiguous"
        return self.engine + layout + ("-compiled" if compute.compiled else "")

    def _pixels(self) -> str:
        return DEVICE_PIXELS if self.device_decoding else PIXELS

    def _maybe_stop(self, bad: dict[int, str]) -> None:
        if bad and self.stop_at_bad:
            raise _bad_image(next(iter(bad.values())))

    @torch.inference_mode()
    def _forward(self, pictures: torch.Tensor) -> torch.Tensor:
        pictures = pictures.to(self.compute.device, non_blocking=pictures.is_pinned())
        self.timer.lap("to_device")
        features: torch.Tensor = self.backbone(self.preprocessing.normalize(pictures, self.compute.dtype))
        features = features.float() if self.as_float32 else features
        self.timer.lap("forward")
        return features

    def _chunks(
        self, pictures: ImageSource, view: int, indices: Sequence[int] | None, chunk_size: int
    ) -> Iterable[Chunk]:
        settings = self.loader(chunk_size)
        if self.device_decoding and isinstance(pictures, ImageFiles):
            return self._decoded_there(pictures, view, indices, chunk_size)
        self.timer.loader(settings.threads or settings.workers, chunk_size, settings.pin_memory)
        dataset = ViewDataset(pictures, indices, self.preprocessing, view, self.view_seed)
        if settings.threads:
            return ThreadedChunks(dataset, chunk_size, settings.threads)
        return LoadedChunks(dataset, chunk_size, settings)

    def _decoded_there(
        self, pictures: ImageFiles, view: int, indices: Sequence[int] | None, chunk_size: int
    ) -> DeviceChunks:
        threads = available_cores()
        self.timer.loader(threads, chunk_size, pin_memory=False)
        return DeviceChunks(
            pictures,
            range(len(pictures)) if indices is None else indices,
            DevicePreprocessing(**self.preprocessing.model_dump()),
            self.compute.device,
            chunk_size,
            threads,
            view,
            self.view_seed,
        )

    def loader(self, chunk_size: int) -> LoaderSettings:
        """How pictures are loaded here, for chunks of that size.

        Raises:
            ConfigError: workers were asked for where no processes can be started.
        """
        check_may_start(self.workers)
        return loader_settings(
            device=self.compute.device.type,
            cores=available_cores(),
            shared_memory_bytes=shared_memory_bytes(),
            batch_bytes=chunk_size * 3 * self.preprocessing.crop_px**2,
            workers=self.workers,
            pin_memory=self.pin_memory,
            may_start_processes=may_start_processes(),
        )


@dataclass(frozen=True)
class StreamedFeatures:
    """The exact mode: every batch goes through the backbone again, and nothing is kept.

    `kept` holds the positions of the readable ones of `pictures`.
    """

    extractor: FeatureExtractor
    pictures: ImageSource
    kept: torch.Tensor
    targets: torch.Tensor
    view: int = 0

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        indices = self.kept[rows].tolist()
        for chunk, features in self.extractor.stream(
            self.pictures, view=self.view, indices=indices, chunk_size=batch_size
        ):
            if chunk.bad:
                raise DataError(f"a picture became unreadable while training: {next(iter(chunk.bad.values()))}")
            # Outside inference mode: the head's backward pass needs ordinary tensors.
            yield features.clone(), self.targets[rows[chunk.positions]]


def features_of(
    extractor: FeatureExtractor, paths: Sequence[Path], fingerprint: str, cache: FeatureCache, *, view: int, title: str
) -> Features:
    """Features from the cache, or computed and cached."""

    def compute() -> Features:
        log.info("%s: %d pictures through the frozen part", title, len(paths))
        return extractor.extract(ImageFiles(paths), view=view, title=title)

    return cache.get_or_compute(extractor.key(fingerprint, view), compute)


def _bad_image(reason: str) -> ImageError:
    """The error that ends a training at a picture that can't be read."""
    return ImageError(
        f"{reason}; remove the picture, or go on without such pictures by --on-bad-image skip "
        "(breedclf data check DIR lists all of them)"
    )


def left_out(found: Features, on_bad_image: OnBadImage) -> list[str]:
    """Why pictures are left out, in their order.

    Raises:
        ImageError: one is, and none may be.
        DataError: all are.
    """
    reasons = [found.bad[position] for position in sorted(found.bad)]
    if reasons and on_bad_image == "error":
        raise _bad_image(reasons[0])
    if not len(found.kept):
        raise DataError(f"none of the {len(reasons)} pictures can be read; the first: {reasons[0]}")
    return reasons


def fingerprint_of(paths: Sequence[Path]) -> str:
    """A hash of the pictures' bytes in their order; names and places don't count."""
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for start in range(0, len(paths), _DIGESTED_AT_A_TIME):
            for one in pool.map(_digest_file, paths[start : start + _DIGESTED_AT_A_TIME]):
                digest.update(one)
    return digest.hexdigest()


def _digest_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _digester).digest()
    except OSError:
        # An unreadable file is reported, or skipped, when it is decoded; here it only has to count as itself.
        return f"unreadable {path.name}".encode(errors="surrogateescape")


def _digester() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
