"""The data of a training run: the classes and the two splits that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin
from breedclf.data.given_images import GivenImages, kind_of, training_splits
from breedclf.data.image_folder import display_names, training_images
from breedclf.data.split import Split


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
        ConfigError: there is neither a folder nor images, or both; or images of a split with an unknown name.
        DataError: the folder is missing, can be read in more than one way, or has no images to train or validate on.
    """
    check_one_origin(config, images)
    if images is None:
        folder = training_images(config)
        return TrainingData(folder.labels, folder.class_names, folder.split("train"), folder.split("valid"))
    labels, splits = training_splits(
        images, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed
    )
    return TrainingData(labels, display_names(labels), splits["train"], splits["valid"], kind_of(images))
