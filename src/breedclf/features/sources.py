"""The pictures as the trained part meets them: features, activations or pictures, kept where that pays."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from breedclf.config import TrainingConfig
from breedclf.data.decoded_cache import ImageCache, PreparedImages
from breedclf.data.image_folder import Split
from breedclf.data.image_source import ImageFiles, ImageSource
from breedclf.data.sources import FeatureSource
from breedclf.features.cache import FeatureCache, Features
from breedclf.features.extraction import (
    FeatureExtractor,
    StoredFeatures,
    StreamedFeatures,
    features_of,
    fingerprint_of,
    left_out,
)

log = logging.getLogger(__name__)

_MEMORY_SHARE = 0.5
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def view_of(config: TrainingConfig, epoch: int) -> int:
    """Which view of every picture an epoch (from 1) trains on; view 0 is the plain crop.

    Example:
        >>> [view_of(TrainingConfig(data="x", views=2), epoch) for epoch in (1, 2, 3)]
        [0, 1, 0]
        >>> [view_of(TrainingConfig(data="x", freeze="layer4"), epoch) for epoch in (1, 2, 3)]
        [1, 2, 3]
    """
    plain = config.augment == "none" or (config.augment == "auto" and config.freeze == "head")
    if plain:
        return (epoch - 1) % config.views
    return (epoch - 1) % config.views + 1 if config.views > 1 else epoch


def views_of(config: TrainingConfig) -> dict[int, int]:
    """How many epochs train on each view, in the order in which they are met."""
    counts: dict[int, int] = {}
    for epoch in range(1, config.epochs + 1):
        view = view_of(config, epoch)
        counts[view] = counts.get(view, 0) + 1
    return counts


@dataclass
class Room:
    """Memory that activations may still take, in bytes."""

    left: float

    @classmethod
    def on_this_machine(cls) -> Room:
        """Half of what is free, also by the limit of a container."""
        limits = [psutil.virtual_memory().available]
        used = psutil.Process().memory_info().rss
        for path in _MEMORY_LIMITS:
            try:
                limits.append(int(path.read_text(encoding="ascii")) - used)
            except (OSError, ValueError):  # no limit is written as a word
                continue
        return cls(max(0, min(limits)) * _MEMORY_SHARE)

    def take(self, size: int) -> bool:
        """Whether so much fits; if so, it is taken."""
        if size > self.left:
            return False
        self.left -= size
        return True


class FeatureProvider:
    """Turns splits into sources of what is trained on, and remembers what had to be left out.

    Features are kept on disk. What goes into layer4 is much larger and depends on the view: of what is met more than
    once, as much is kept in memory as there is room for, and the log says so. Without `feature_cache` nothing is kept.
    """

    def __init__(
        self,
        config: TrainingConfig,
        extractor: FeatureExtractor,
        shape: tuple[int, ...] = (),
        room: Room | None = None,
        fingerprint: Callable[[Sequence[Path]], str] = fingerprint_of,
    ) -> None:
        self.config = config
        self.extractor = extractor
        self.cache = FeatureCache.at(config.cache_dir) if config.feature_cache and config.freeze == "head" else None
        self.room = room or Room.on_this_machine()
        self.fingerprint = fingerprint
        self.fingerprints: dict[str, str] = {}
        self.skipped: list[str] = []
        self._bytes_of_one = math.prod(shape) * (4 if extractor.compute.precision == "fp32" else 2)
        self._readable: dict[str, tuple[ImageSource, Features]] = {}

    def source(self, split: Split, view: int, *, epochs: int) -> FeatureSource:
        """Where so many epochs get this view of the split from.

        Raises:
            DataError: a picture can't be read, unless such are skipped and others are left.
        """
        if split.name not in self.fingerprints:
            self.fingerprints[split.name] = self.fingerprint(split.paths)
        title = f"{split.name} features" + (f", view {view}" if view else "")
        if self.cache is not None:
            features = features_of(
                self.extractor, split.paths, self.fingerprints[split.name], self.cache, view=view, title=title
            )
            return self._stored(split, features, self.extractor.compute.device)
        if epochs > 1 and self._may_keep(split, view):
            return self._stored(
                split, self.extractor.extract(ImageFiles(split.paths), view=view, title=title), torch.device("cpu")
            )
        return self._streamed(split, view)

    @property
    def data_fingerprint(self) -> str:
        text = json.dumps(self.fingerprints, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _may_keep(self, split: Split, view: int) -> bool:
        """Whether activations are kept in memory, which is never decided without a word."""
        if self.config.freeze != "layer4" or not self.config.feature_cache:
            return False
        size = self._bytes_of_one * len(split)
        fits = self.room.take(size)
        log.info(
            "%s pictures, view %d: the frozen part's output %s (%.0f MB)",
            split.name,
            view,
            "is kept in memory" if fits else "is computed anew in each epoch, since memory lacks room for it",
            size / 1e6,
        )
        return fits

    def _stored(self, split: Split, features: Features, device: torch.device) -> FeatureSource:
        self._account_for(features)
        return StoredFeatures(features.values.to(device), self._targets(split, features))

    def _streamed(self, split: Split, view: int) -> FeatureSource:
        if split.name not in self._readable:
            self._readable[split.name] = self._checked(split)
        pictures, found = self._readable[split.name]
        return StreamedFeatures(self.extractor, pictures, found.kept, self._targets(split, found), view)

    def _checked(self, split: Split) -> tuple[ImageSource, Features]:
        """The pictures to stream, and which of them can be decoded; the features themselves are left empty."""
        pictures: ImageSource = ImageFiles(split.paths)
        if self.config.prepared_pictures:
            log.info("preparing %d pictures of %s", len(split), split.name)
            cache = ImageCache.at(self.config.cache_dir, preprocessing=self.extractor.preprocessing)
            pictures = cache.prepared(split.paths, self.fingerprints[split.name])
        if isinstance(pictures, PreparedImages):
            found = Features(torch.empty(0, 0), pictures.readable, pictures.bad)
        else:
            found = self.extractor.readable(pictures, title=f"checking {split.name}")
        self._account_for(found)
        return pictures, found

    def _targets(self, split: Split, features: Features) -> torch.Tensor:
        return torch.tensor(split.targets)[features.kept].to(self.extractor.compute.device)

    def _account_for(self, features: Features) -> None:
        reasons = left_out(features, self.config.on_bad_image)
        self.skipped += [reason for reason in reasons if reason not in self.skipped]
