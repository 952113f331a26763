"""The features of any images: from the store, or through a backbone that is built only if some are missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from torch import nn

from breedclf.config.evaluation import FeatureReuse
from breedclf.data.image_source import EncodedImages
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import SplitImages
from breedclf.features.digests import digests_of
from breedclf.features.extraction import TORCH, FeatureExtractor
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.features.values import Features
from breedclf.files.known_files import KnownFiles
from breedclf.runtime.device import Compute

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """A backbone with its weights, which may not be in memory yet.

    Args:
        fingerprint: that of the weights, as in `PretrainedWeights`; with the same one, features are shared.
        preprocessing: makes an image the backbone's input.
        build: builds it, from normalized images [N, 3, H, W] to features [N, D], on a device.
        name: of the backbone and its weights, for people.
        engine: what computes it, for cache keys.
    """

    fingerprint: str
    preprocessing: Preprocessing
    build: Callable[[Compute], nn.Module]
    name: str = ""
    engine: str = TORCH


@dataclass(frozen=True)
class FeatureCache:
    """Where features are found and stored, and the digests of files that needn't be read again."""

    store: FeatureStore
    known: KnownFiles

    @classmethod
    def at(cls, settings: FeatureReuse) -> Self | None:
        """Those of the settings; None if they are off.

        Raises:
            ConfigError: a folder's name isn't UTF-8, or `BREEDCLF_CACHE_MAX_GB` isn't a size.
        """
        if not settings.feature_cache:
            return None
        store = FeatureStore.at(settings.feature_store, settings.cache_dir)
        return cls(store, KnownFiles.at(settings.cache_dir, verify=settings.verify_files))


@dataclass(frozen=True)
class FeaturePass:
    """How the features of images are computed, and where they are stored.

    With the preprocessing, device, precision and chunk size of a training run they are its features, to the bit, and
    found in its store.

    Args:
        backbone: computes missing features.
        compute: device and precision.
        chunk_size: images per forward pass.
        cache: where features are found and stored; None computes all of them, and doesn't touch the disk.
        workers: DataLoader workers; None chooses for this machine.
        stop_at_bad: raise at the first unreadable image.
    """

    backbone: Backbone
    compute: Compute
    chunk_size: int
    cache: FeatureCache | None
    workers: int | None = None
    stop_at_bad: bool = False

    def features(self, images: SplitImages, title: str = "features", view: int = 0) -> tuple[Features, FeatureCounts]:
        """The features of all readable images in a view, [N, D] in the network's dtype on the CPU.

        A store that fails is reported, and what can't be read is computed. `title` names the progress bar.

        Raises:
            ImageError: an image can't be read, with `stop_at_bad`.
        """
        extractor = FeatureExtractor(
            make_backbone=lambda: self.backbone.build(self.compute),
            preprocessing=self.backbone.preprocessing,
            compute=self.compute,
            weights_fingerprint=self.backbone.fingerprint,
            chunk_size=self.chunk_size,
            workers=self.workers,
            stop_at_bad=self.stop_at_bad,
            name=self.backbone.name,
            engine=self.backbone.engine,
        )
        if self.cache is not None:
            digests = digests_of(images, self.cache.known)
            found, counts = StoredPass(extractor, images, digests, view, title, lambda _done: None).run(
                self.cache.store
            )
            try:
                return found.loaded(), counts
            except OSError as error:
                log.warning("stored features can't be read (%s); computing them again", error)
        computed = extractor.extract(EncodedImages(images), view=view, title=title)
        return computed, FeatureCounts(computed=len(computed.kept))

    def is_that_of(self, other: FeaturePass) -> bool:
        """Whether both compute the same features, as those of two models that differ in their heads alone."""
        return self._computes == other._computes

    @property
    def _computes(self) -> tuple[object, ...]:
        backbone = self.backbone
        return backbone.fingerprint, backbone.preprocessing, backbone.engine, self.compute, self.chunk_size


@dataclass(frozen=True)
class RepeatedPass(FeaturePass):
    """A pass for several models: the features of the images that passed last are returned again."""

    last: dict[int, tuple[SplitImages, Features, FeatureCounts]] = field(default_factory=dict, repr=False)

    def features(self, images: SplitImages, title: str = "features", view: int = 0) -> tuple[Features, FeatureCounts]:
        """As of `FeaturePass`."""
        if view not in self.last or self.last[view][0] is not images:
            self.last[view] = (images, *super().features(images, title, view))
        return self.last[view][1:]
