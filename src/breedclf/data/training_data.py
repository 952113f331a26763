"""The data of a training run: the classes and the two splits that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from breedclf.config import TrainingConfig
from breedclf.data.dataset import Dataset
from breedclf.data.image_folder import scan
from breedclf.data.split import Split
from breedclf.data.tables.dataset import scan_table
from breedclf.data.tables.places import place_of


@dataclass(frozen=True)
class TrainingData:
    """`labels` are the names of the class folders, sorted, and `class_names` what people are shown instead."""

    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    train: Split
    valid: Split

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """The number of training images of each class, in the order of the labels."""
        counts = [0] * len(self.labels)
        for target in self.train.targets:
            counts[target] += 1
        return tuple(counts)


def load_data(config: TrainingConfig) -> TrainingData:
    """Find the training and the validation images of a run; the images themselves aren't read yet.

    Raises:
        DataError: the folder or table is missing, can be read in more than one way, or has no images to train or
            validate on.
    """
    images = training_images(config)
    return TrainingData(images.labels, images.class_names, images.split("train"), images.split("valid"))


def training_images(config: TrainingConfig) -> Dataset:
    """The dataset that these settings describe, a folder or a table, including its test split.

    Raises:
        DataError: as `scan` and `scan_table`.
    """
    shares = {"valid_share": config.valid_share, "test_share": config.test_share}
    place = place_of(config.data, config.labels)
    if place is None:
        return scan(config.data, **shares, split_seed=config.split_seed)
    return scan_table(place, **shares, split_seed=config.split_seed, skip_missing=config.on_bad_image == "skip")
