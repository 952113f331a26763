"""Splits as training inputs: cached features, activations kept in memory, or images streamed through the backbone."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from breedclf.config import TrainingConfig
from breedclf.data.decoded_cache import ImageCache, PreparedImages
from breedclf.data.image_source import EncodedImages, ImageSource
from breedclf.data.split import Split, SplitImages
from breedclf.features.digests import ContentDigests, digests_of
from breedclf.features.extraction import FeatureExtractor, StoredFeatures, StreamedFeatures
from breedclf.features.lazy import LazyFeatures
from breedclf.features.memory_budget import MemoryBudget
from breedclf.features.pass_share import ALONE, PassShare, Together
from breedclf.features.progress import FeatureProgress
from breedclf.features.sharing import agreed_digests
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.features.values import Features
from breedclf.files.known_files import KnownFiles

log: logging.Logger = logging.getLogger(__name__)


class FeatureProvider:
    """Turns splits into sources, and collects the reasons of unreadable images in `skipped`.

    Features are cached on disk. The input of a trained stage is much larger and depends on the view: what several
    epochs need is cached on disk or in memory as far as the budgets allow, and the log reports it. Without
    `feature_cache`, or if all stages are trained, nothing is.
    """

    def __init__(
        self,
        config: TrainingConfig,
        extractor: FeatureExtractor,
        input_shape: Sequence[int],
        digests: Callable[[SplitImages, KnownFiles | None], ContentDigests] = digests_of,
        on_progress: Callable[[FeatureProgress], None] = lambda _: None,
        share: PassShare = ALONE,
    ) -> None:
        self.config = config
        self.extractor = extractor
        crop_px = extractor.preprocessing.crop_px
        self._keeps_outputs = config.feature_cache and tuple(input_shape) != (3, crop_px, crop_px)
        self.store: FeatureStore | None = (
            FeatureStore.at(config.feature_store, config.cache_dir) if self._keeps_outputs else None
        )
        self.counts = FeatureCounts()
        self._digests_of = digests
        is_cached = config.feature_cache or config.decoded_cache
        self._known = KnownFiles.at(config.cache_dir, verify=config.verify_files) if is_cached else None
        self._on_progress = on_progress
        self._share = share
        self._digests: dict[str, ContentDigests] = {}
        self._bytes_per_image = math.prod(input_shape) * (4 if extractor.compute.precision == "fp32" else 2)
        self._budget = MemoryBudget.of_this_machine()
        self._loadable = MemoryBudget.of_loaded_features(extractor.compute.device)
        self._disk: MemoryBudget | None = None
        self._readable: dict[str, tuple[ImageSource, Features]] = {}
        self._skipped: dict[str, None] = {}

    @property
    def skipped(self) -> list[str]:
        """The reasons of all unreadable images that are left out, each once."""
        return list(self._skipped)

    @property
    def data_fingerprint(self) -> str:
        """A hash of the fingerprints of all splits that sources were made of."""
        fingerprints = {split: digests.fingerprint for split, digests in self._digests.items()}
        text = json.dumps(fingerprints, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def source(self, split: Split, view: int, epochs: int) -> StoredFeatures | LazyFeatures | StreamedFeatures:
        """The source of one view of a split, which `epochs` epochs read.

        Raises:
            DataError: an image can't be read, unless unreadable ones are skipped and others are left.
        """
        if split.name not in self._digests:
            self._digests[split.name] = agreed_digests(self._share, self._digests_of(split.images, self._known))
        is_head = self.config.freeze == "head"
        store = self.store if is_head else self._store_of_activations(split, view, epochs)
        if store is None and not (epochs > 1 and self._fits_in_memory(split, view)):
            return self._streamed(split, view)
        title = f"{split.name} features" + (f", view {view}" if view > 0 else ", mirrored" if view else "")
        digests, report = self._digests[split.name], self._reporting(split, view)
        found, counts = StoredPass(self.extractor, split.images, digests, view, title, report, self._share).run(store)
        self.counts += counts
        self._skipped |= dict.fromkeys(found.left_out(self.config.on_bad_image))
        device = self.extractor.compute.device
        targets = torch.tensor(split.targets)[found.kept].to(device)
        source = LazyFeatures(
            found,
            targets,
            torch.float32 if is_head else None,
            lambda positions: self.extractor.again(split.images, view, positions),
        )
        # Features fit on the device; activations are much larger and are moved batch by batch.
        return source.loaded() if is_head and self._loadable.take(found.values * 4) else source

    def computed_again(self, split: Split, kept: torch.Tensor) -> StreamedFeatures:
        """The source of the evaluation crops of the images at the positions `kept`, which are computed when read."""
        images = self._readable[split.name][0] if split.name in self._readable else EncodedImages(split.images)
        targets = torch.tensor(split.targets)[kept].to(self.extractor.compute.device)
        return StreamedFeatures(self.extractor, images, kept, targets)

    def _reporting(self, split: Split, view: int) -> Callable[[int], None]:
        """Reports the number of images of a view that are done."""
        return lambda done: self._on_progress(FeatureProgress(split.name, view, done, len(split)))

    def _store_of_activations(self, split: Split, view: int, epochs: int) -> FeatureStore | None:
        """The store if the activations of this view are to be there; the log reports it.

        A view that is used once isn't worth a write, and a GPU computes activations faster than a disk reads them.
        """
        if self.store is None or epochs < 2 or self.extractor.compute.device.type != "cpu":
            return None
        store, size = replace(self.store, remote=None), self._bytes_per_image * len(split)
        if not all(self._share.from_all(self._fits_on_disk(store, size, view))):
            return None
        log.info(
            "%s images, view %d: the backbone's output is cached in %s (%.1f GB); feature_cache=False turns this off",
            split.name,
            view,
            store.folder,
            size / 1e9,
        )
        return store

    def _fits_on_disk(self, store: FeatureStore, size: int, view: int) -> bool:
        try:
            if self._disk is None:
                self._disk = MemoryBudget.of_disk(store.folder, store.max_bytes)
            return self._disk.take(max(0, size - store.bytes_of(self.extractor.spec(view))))
        except OSError:
            return False

    def _fits_in_memory(self, split: Split, view: int) -> bool:
        """Whether the activations of this view are kept in memory; the log reports the decision."""
        if self.config.freeze == "head" or not self._keeps_outputs:
            return False
        size = self._bytes_per_image * len(split)
        fits = all(self._share.from_all(self._budget.take(size)))
        log.info(
            "%s images, view %d: the backbone's output %s (%.0f MB)",
            split.name,
            view,
            "is kept in memory" if fits else "doesn't fit in memory and is recomputed in each epoch",
            size / 1e6,
        )
        return fits

    def _streamed(self, split: Split, view: int) -> StreamedFeatures:
        if split.name not in self._readable:
            with self._share.together() as together:
                images = self._images(split)
                found = self._checked(images, split, view, together)
                self._skipped |= dict.fromkeys(found.left_out(self.config.on_bad_image))
            self._readable[split.name] = images, found
        images, found = self._readable[split.name]
        targets = torch.tensor(split.targets)[found.kept].to(self.extractor.compute.device)
        return StreamedFeatures(self.extractor, images, found.kept, targets, view)

    def _checked(self, images: ImageSource, split: Split, view: int, together: Together) -> Features:
        """Which images can be read; each process checks all of them."""
        if isinstance(images, PreparedImages):
            return Features(torch.empty(0, 0), images.readable, images.bad)
        report = self._reporting(split, view)

        def on_chunk(done: int) -> None:
            together.advance(0)
            report(done)

        return self.extractor.readable(images, title=f"checking {split.name}", on_chunk=on_chunk)

    def _images(self, split: Split) -> ImageSource:
        """The split's images as they are, or decoded and scaled once."""
        if not self.config.decoded_cache:
            return EncodedImages(split.images)
        log.info("decoding %d %s images for the cache", len(split), split.name)
        cache = ImageCache.at(self.config.cache_dir, preprocessing=self.extractor.preprocessing)
        return cache.prepared(split.images, self._digests[split.name].fingerprint)
