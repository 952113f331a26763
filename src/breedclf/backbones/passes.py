"""The passes of a comparison over the images: how fast each candidate is, what fits the budget, and the features."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.backbones.budget import BudgetPlan, Cost, even_order, fewest_images, planned
from breedclf.backbones.candidates import Candidate, load_candidate
from breedclf.backbones.pool import pooled
from breedclf.backbones.speed import Speed, measured_speed
from breedclf.config import TrainingConfig
from breedclf.data.given_images import GivenImages
from breedclf.data.split import Split
from breedclf.data.training_data import TrainingData, load_data
from breedclf.errors import WeightsError
from breedclf.features.digests import ContentDigests, digests_of
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.lazy import LazyFeatures
from breedclf.features.store.store import FeatureStore
from breedclf.features.store_access import StoreAccess
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.files.known_files import KnownFiles
from breedclf.runtime.device import Compute, compute_of

log: logging.Logger = logging.getLogger(__name__)

_MOST_BYTES_LOADED = 2_000_000_000


@dataclass(frozen=True)
class LoadedCandidate:
    """A candidate with its speed and the images whose features are stored; without extractor it is loaded again."""

    candidate: Candidate
    speed: Speed
    stored: frozenset[int]
    extractor: FeatureExtractor | None


@dataclass(frozen=True)
class CandidateFeatures:
    """The features of a candidate, and what they cost; `positions` is int64 [N], those of the images in the pool."""

    candidate: Candidate
    speed: Speed
    source: LazyFeatures
    positions: NDArray[np.int64]
    counts: FeatureCounts
    skipped: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Passes:
    """The images of a comparison, and the passes over them."""

    config: TrainingConfig
    data: TrainingData
    pool: Split
    digests: ContentDigests
    store: FeatureStore | None
    compute: Compute

    @classmethod
    def start(cls, config: TrainingConfig, images: GivenImages | None) -> Passes:
        compute = compute_of(config)
        data = load_data(config, images)
        pool = pooled(data)
        uses_cache = config.feature_cache
        store = FeatureStore.at(config.feature_store, config.cache_dir) if uses_cache else None
        known = KnownFiles.at(config.cache_dir, verify=config.verify_files) if uses_cache else None
        return cls(config, data, pool, digests_of(pool.images, known), store, compute)

    def loaded(self, configs: Mapping[str, TrainingConfig]) -> dict[str, LoadedCandidate]:
        """Each candidate with its speed; all of them before the first pass, so that errors don't take hours."""
        found, size = {}, 0
        for name, config in configs.items():
            candidate, extractor = load_candidate(config, self.data, self.compute)
            speed = measured_speed(extractor, self.pool.images)
            log.info("%s: %.1f images per second through the network", name, speed.images_per_second)
            size += candidate.model_bytes
            is_kept = size <= _MOST_BYTES_LOADED
            found[name] = LoadedCandidate(candidate, speed, self._stored(extractor), extractor if is_kept else None)
        return found

    def _stored(self, extractor: FeatureExtractor) -> frozenset[int]:
        """The positions of images whose features are stored."""
        with StoreAccess.opened(self.store, extractor.spec(0)) as access:
            return frozenset(np.flatnonzero(access.find(self.digests.values).found).tolist())

    def _extractor(self, candidate: Candidate) -> FeatureExtractor:
        return load_candidate(candidate.config, self.data, self.compute)[1]

    def plan(
        self, loaded: Mapping[str, LoadedCandidate], budget_seconds: float | None, spent_seconds: float
    ) -> BudgetPlan:
        """What is compared, on which images."""
        everything = tuple(range(len(self.pool)))
        if budget_seconds is None:
            return BudgetPlan(tuple(loaded), everything)
        costs = {name: Cost(each.speed.pass_seconds, each.stored) for name, each in loaded.items()}
        order = even_order(self.pool.targets, self.config.split_seed)
        fewest = fewest_images(self.pool.targets)
        plan = planned(costs, order, fewest, budget_seconds=budget_seconds, spent_seconds=spent_seconds)
        for name, reason in plan.left_out.items():
            log.warning("%s isn't compared: %s", name, reason)
        if len(plan.images) < len(everything):
            log.info("the budget allows %d of %d images for each candidate", len(plan.images), len(everything))
        return plan

    def features(
        self, loaded: Mapping[str, LoadedCandidate], plan: BudgetPlan
    ) -> tuple[list[CandidateFeatures], dict[str, str]]:
        """The features of the planned images, candidate by candidate, and the reasons why others have none.

        Raises:
            WeightsError: the features of every candidate contain NaN or infinity.
        """
        found, left_out = [], dict(plan.left_out)
        for name in plan.candidates:
            try:
                found.append(self._features(loaded[name], plan.images))
            except WeightsError as error:
                if name == plan.candidates[-1] and not found:
                    raise
                left_out[name] = str(error)
                log.warning("%s isn't compared: %s", name, error)
        return found, left_out

    def _features(self, loaded: LoadedCandidate, images: Sequence[int]) -> CandidateFeatures:
        started = time.perf_counter()
        candidate = loaded.candidate
        extractor = loaded.extractor or self._extractor(candidate)
        some = self.pool.chosen(images)
        digests = ContentDigests(self.digests.values[list(images)], self.digests.fingerprint)
        title = f"features of {candidate.name}"
        found, counts = StoredPass(extractor, some.images, digests, 0, title, lambda _done: None).run(self.store)
        skipped = found.left_out(self.config.on_bad_image)
        targets = torch.tensor(some.targets)[found.kept].to(self.compute.device)
        source = LazyFeatures(
            found, targets, torch.float32, lambda positions: self._extractor(candidate).again(some.images, 0, positions)
        )
        seconds = time.perf_counter() - started
        log.info("%s: %d images in %.1f s, %d from the store", title, len(found.kept), seconds, counts.reused)
        positions = np.asarray(images)[found.kept.numpy()]
        return CandidateFeatures(candidate, loaded.speed, source, positions, counts, skipped, seconds)
