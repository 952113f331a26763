"""The images of a review, those of all splits, and their features: from the store, or computed and stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin
from breedclf.data.class_names import display_names
from breedclf.data.given_images import GivenImages, kind_of, training_splits
from breedclf.data.image_groups import groups_of
from breedclf.data.joined_images import JoinedImages
from breedclf.data.split import Split
from breedclf.data.training_data import TrainingData, training_images
from breedclf.errors import ConfigError, WeightsError
from breedclf.features.digests import digests_of
from breedclf.features.sources import extractor_of
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.files.known_files import KnownFiles
from breedclf.label_review.left_out import Floats
from breedclf.models.model import build_model
from breedclf.runtime.device import compute_of
from breedclf.training.run_cache import RunCache

log: logging.Logger = logging.getLogger(__name__)

_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class ReviewedImages:
    """The readable images of all splits, and their features.

    Args:
        labels: the names of the classes.
        split: the images, with the given class of each.
        split_names: the split of each image.
        features: float32 [N, D].
        groups: the group of each image, empty for none.
        skipped: the reasons of unreadable images.
        counts: images that passed through the backbone, and images whose features were stored.
        root: the image folder, or the folder of the table; None for images of a program.
    """

    labels: Sequence[str]
    split: Split
    split_names: Sequence[str]
    features: Floats
    groups: Sequence[str]
    skipped: Sequence[str]
    counts: FeatureCounts
    root: Path | None

    @property
    def targets(self) -> NDArray[np.int64]:
        """The given class of each image, int64 [N]."""
        return np.array(self.split.targets, np.int64)

    def path(self, row: int) -> str:
        """The name of an image, relative to the folder."""
        name = self.split.images.name(row)
        path = Path(name)
        return path.relative_to(self.root).as_posix() if self.root and path.is_relative_to(self.root) else name


def reviewed_images(config: TrainingConfig, images: GivenImages | None) -> ReviewedImages:
    """Find the images, and their features by the frozen backbone of the settings; unreadable ones are left out.

    Raises:
        ConfigError: the settings continue a model, or there are neither data nor images, or both.
        DataError: the images can't be used, or none can be read.
        WeightsError: the weights can't be loaded, or their features contain NaN.
    """
    if config.start_from is not None:
        raise ConfigError("start_from continues a model, but a review needs pretrained weights: leave it out")
    config = config.replace(freeze="head", on_bad_image="skip")
    data, splits = _data(config, images)
    names = [name for name in _SPLITS if name in splits and len(splits[name])]
    parts = [splits[name] for name in names]
    targets = tuple(target for part in parts for target in part.targets)
    pool = Split("all splits", JoinedImages([part.images for part in parts]), targets)
    compute = compute_of(config)
    model = build_model(config, RunCache().pretrained(config), classes=len(data.labels), compute=compute)
    extractor = extractor_of(config, data, model, compute)
    store = FeatureStore.at(config.feature_store, config.cache_dir) if config.feature_cache else None
    known = KnownFiles.at(config.cache_dir, verify=config.verify_files) if config.feature_cache else None
    digests = digests_of(pool.images, known)
    found, counts = StoredPass(extractor, pool.images, digests, 0, "features", lambda _done: None).run(store)
    skipped = found.left_out("skip")
    kept = found.kept.numpy()
    features = found.loaded().values.float().flatten(1).numpy()
    if broken := int((~np.isfinite(features)).any(1).sum()):
        raise WeightsError(
            f"the features of {broken} images contain NaN or infinity: the weights don't suit the network, or exceed "
            "the range of a low precision (set precision=fp32); use other weights"
        )
    split = pool.chosen(kept.tolist())
    split_names = np.repeat(names, [len(part) for part in parts])[kept].tolist()
    groups = groups_of(config, split.images, digests.values[kept])
    log.info("features of %d images: %d computed, %d stored", len(kept), counts.computed, counts.reused)
    return ReviewedImages(data.labels, split, split_names, features, groups, skipped, counts, _root(config))


def _data(config: TrainingConfig, images: GivenImages | None) -> tuple[TrainingData, dict[str, Split]]:
    check_one_origin(config, images)
    if images is None:
        found = training_images(config)
        splits, data_labels, kind = dict(found.splits), found.labels, None
    else:
        shares = {"valid_share": config.valid_share, "test_share": config.test_share}
        data_labels, splits = training_splits(images, **shares, split_seed=config.split_seed)
        kind = kind_of(images)
    names = display_names(data_labels)
    empty = Split("valid", JoinedImages([]), ())
    return TrainingData(data_labels, names, splits["train"], splits.get("valid", empty), kind), splits


def _root(config: TrainingConfig) -> Path | None:
    if config.data is None:
        return None
    return config.data if config.data.is_dir() else config.data.parent
