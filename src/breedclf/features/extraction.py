"""Features of images: the frozen backbone run over a list of them, once per view or again for every batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import nn

from breedclf.data.device_decoding import PIXELS as DEVICE_PIXELS
from breedclf.data.image_source import Chunk, EncodedImages, ImageSource
from breedclf.data.preprocessing import PIXELS, Preprocessing
from breedclf.data.split import SplitImages
from breedclf.errors import DataError, WeightsError
from breedclf.features.loading import device_chunks, loaded_chunks, loader_for
from breedclf.features.pass_share import ignore
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.values import Features, unreadable_image
from breedclf.models.state_dict import is_finite
from breedclf.runtime.device import Compute, LoaderSettings
from breedclf.runtime.progress import progress_bar
from breedclf.runtime.rounding import depends_on_batch, rounding_of
from breedclf.runtime.row_buffer import RowBuffer
from breedclf.runtime.timers import NO_TIMER, StepTimer

log: logging.Logger = logging.getLogger(__name__)

TORCH = "torch-fused"
TORCH_GRAPH = "torch-graph"
_FILLED_TO = 8  # few shapes: oneDNN and OpenVINO prepare each one


def torch_engine(architecture: str) -> str:
    """The name of torch as an engine in cache keys; that of torchvision's ResNets is older, and their features too.

    Example:
        >>> torch_engine("resnet50"), torch_engine("convnext_tiny")
        ('torch-fused', 'torch-graph')
    """
    return TORCH if architecture.startswith("resnet") else TORCH_GRAPH


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
        stages: what is frozen, as in `FeatureSpec`.
        engine: what computes the backbone, for cache keys.
        device_decoding: decode JPEGs on the GPU.
        name: of the backbone and its weights, in lists of cached features.
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
    stages: str = "head"
    engine: str = TORCH
    device_decoding: bool = False
    name: str = ""

    @cached_property
    def backbone(self) -> nn.Module:
        """[N, 3, H, W] to features [N, D]; never built if all features are cached."""
        backbone = self.make_backbone()
        self.timer.watch(backbone)
        return backbone

    def extract(
        self, images: ImageSource, *, view: int = 0, title: str = "features", on_chunk: Callable[[int], None] = ignore
    ) -> Features:
        """Compute the features of every readable image in one view; `title` names the progress bar.

        `on_chunk` is called after each chunk with the number of images done; its exceptions end the extraction.

        Raises:
            ImageError: an image can't be read, with `stop_at_bad`.
        """
        values, kept = RowBuffer(len(images)), RowBuffer(len(images), torch.empty(0, dtype=torch.int64))
        bad: dict[int, str] = {}
        for chunk, features in self.computed(images, None, view=view, title=title, on_chunk=on_chunk):
            if len(chunk.positions):
                values.append(features)
                kept.append(chunk.positions)
            bad.update(chunk.bad)
        return Features(values.values, kept.values, bad)

    def computed(
        self,
        images: ImageSource,
        indices: Sequence[int] | None,
        *,
        view: int,
        title: str,
        on_chunk: Callable[[int], None] = ignore,
    ) -> Iterator[tuple[Chunk, torch.Tensor]]:
        """Chunks of the images at `indices` (None: all) with their features as the backbone computes them.

        A feature doesn't depend on the images beside it: where the number of images may decide its last digits, each
        chunk passes the backbone with the same shape. Elsewhere small chunks are filled up to a multiple of eight.

        Raises:
            ImageError: an image can't be read, with `stop_at_bad`.
        """
        done = 0
        with progress_bar(title, total=len(images) if indices is None else len(indices)) as bar:
            self.timer.phase("features")
            for chunk, features in self.stream(images, view=view, indices=indices, padded=True):
                yield chunk, features
                new = len(chunk.positions) + len(chunk.bad)
                done += new
                bar.update(new)
                self.timer.step(len(chunk.positions))
                self._maybe_stop(chunk.bad)
                on_chunk(done)

    def again(self, images: SplitImages, view: int, positions: torch.Tensor) -> torch.Tensor:
        """The features of the images at some positions, int64 [B], on the CPU, as `computed` gives them.

        Raises:
            DataError: an image can't be read any more.
        """
        chunks = []
        for chunk, features in self.stream(EncodedImages(images), view=view, indices=positions.tolist(), padded=True):
            if chunk.bad:
                raise became_unreadable(chunk.bad)
            chunks.append(features.cpu().clone())
        return torch.cat(chunks)

    def readable(self, images: ImageSource, *, title: str, on_chunk: Callable[[int], None] = ignore) -> Features:
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
        padded: bool = False,
    ) -> Iterator[tuple[Chunk, torch.Tensor]]:
        """Chunks of the images at `indices` (None: all), with their features [N, D] on the device.

        The chunks' positions refer to `indices`. With `padded`, chunks of fewer images are filled up for the backbone.
        """
        device, dtype = self.compute.device, self.compute.dtype
        chunk_size = chunk_size or self.chunk_size
        for chunk in self._chunks(images, view, indices, chunk_size):
            self.timer.lap("data_wait")
            self.timer.loading(len(chunk.positions), *chunk.seconds)
            if not len(chunk.positions):
                yield chunk, torch.empty(0, 0)
                continue
            with torch.inference_mode():
                on_device = chunk.images.to(device, non_blocking=chunk.images.is_pinned())
                self.timer.lap("to_device")
                inputs = _filled_up(on_device, self._shape(len(on_device), chunk_size)) if padded else on_device
                features: torch.Tensor = self.backbone(self.preprocessing.normalize(inputs, dtype))[: len(on_device)]
                self.timer.lap("forward")
            if padded or not features.is_cuda:  # reading a value makes a GPU wait
                self._check_finite(features, chunk.positions, images, indices)
            yield chunk, features

    def _check_finite(
        self, features: torch.Tensor, positions: torch.Tensor, images: ImageSource, indices: Sequence[int] | None
    ) -> None:
        """Check the features of the images at some positions of `indices`, as `stream` yields them.

        Raises:
            WeightsError: one is NaN or infinite.
        """
        if is_finite(features):
            return
        broken = (~features.isfinite()).flatten(1).any(1).cpu()
        first = int(positions[broken][0])
        index = first if indices is None else indices[first]
        name = images.images.name(index) if isinstance(images, EncodedImages) else f"image {index}"
        precision = self.compute.precision
        remedy = "use other weights" + ("" if precision == "fp32" else ", or precision=fp32")
        raise WeightsError(
            f"{name}: the backbone ({self.name}) computes NaN or infinite features in {precision} (for "
            f"{int(broken.sum())} of {len(features)} images): {remedy}"
        )

    def _shape(self, images: int, chunk_size: int) -> int:
        """How many images pass the backbone for a chunk of `images`."""
        return chunk_size if depends_on_batch(self.compute) else min(chunk_size, -(-images // _FILLED_TO) * _FILLED_TO)

    def spec(self, view: int) -> FeatureSpec:
        """What the features of one view depend on besides the images."""
        return FeatureSpec(
            weights=self.weights_fingerprint,
            stages=self.stages,
            preprocessing=self.preprocessing.model_dump(mode="json"),
            precision=self.compute.precision,
            engine=self._engine(),
            view=(view, self.view_seed if view > 0 else 0),
            name=self.name,
        )

    def _engine(self) -> str:
        """What else may change the last digits of a feature."""
        compute = self.compute
        parts = [self.engine, torch.__version__, DEVICE_PIXELS if self.device_decoding else PIXELS]
        parts += [] if compute.channels_last else ["contiguous"]
        parts += ["compiled"] if compute.compiled else []
        parts += [f"batch={self.chunk_size}"] if depends_on_batch(compute) else []
        return "-".join([*parts, rounding_of(compute.device)])

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
                raise became_unreadable(chunk.bad)
            # A clone outside inference mode: the backward pass needs ordinary tensors.
            features = features.float() if self.extractor.stages == "head" else features
            yield features.clone(), self.targets[rows[chunk.positions]]


def _filled_up(images: torch.Tensor, count: int) -> torch.Tensor:
    """Images [N, ...] followed by as many empty ones as `count` needs."""
    return F.pad(images, (*(0, 0) * (images.ndim - 1), 0, count - len(images))) if len(images) < count else images


def became_unreadable(bad: Mapping[int, str]) -> DataError:
    """The error for images that could be read before; `bad` has the reasons by position."""
    return DataError(f"an image became unreadable during training: {next(iter(bad.values()))}")
