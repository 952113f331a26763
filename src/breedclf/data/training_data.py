"""The data of a training run: the classes and the two splits that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin
from breedclf.data.class_names import display_names
from breedclf.data.dataset import Dataset
from breedclf.data.given_images import GivenImages, kind_of, training_splits
from breedclf.data.image_folder import scan
from breedclf.data.split import Split
from breedclf.data.tables.dataset import scan_table
from breedclf.data.tables.places import place_of


@dataclass(frozen=True)
class TrainingData:
    """`labels` are the names of the classes, and `class_names` what people are shown instead.

    `kind` is the kind of the images that a program gave; None if the settings name them.
    """

    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    train: Split
    valid: Split
    kind: str | None = None

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """The number of training images of each class, in the order of the labels."""
        counts = [0] * len(self.labels)
        for target in self.train.targets:
            counts[target] += 1
        return tuple(counts)


def load_data(config: TrainingConfig, images: GivenImages | None = None) -> TrainingData:
    """Find the training and the validation images of a run; the images themselves aren't read yet.

    Args:
        config: names the image folder, unless images are given.
        images: labeled images in place of a folder.

    Raises:
        ConfigError: there are neither data nor images, or both; or images of a split with an unknown name.
        DataError: the folder or table is missing, can be read in more than one way, or has no images to train or
            validate on.
    """
    check_one_origin(config, images)
    if images is None:
        found = training_images(config)
        return TrainingData(found.labels, found.class_names, found.split("train"), found.split("valid"))
    labels, splits = training_splits(
        images, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed
    )
    return TrainingData(labels, display_names(labels), splits["train"], splits["valid"], kind_of(images))


def training_images(config: TrainingConfig) -> Dataset:
    """The dataset that these settings describe, a folder or a table, including its test split.

    Raises:
        ConfigError: the settings name neither.
        DataError: as `scan` and `scan_table`.
    """
    check_one_origin(config, None)
    assert config.data is not None
    shares = {"valid_share": config.valid_share, "test_share": config.test_share}
    place = place_of(config.data, config.labels)
    if place is None:
        return scan(config.data, **shares, split_seed=config.split_seed)
    return scan_table(place, **shares, split_seed=config.split_seed, skip_missing=config.on_bad_image == "skip")
