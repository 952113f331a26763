"""The data of a training run: the classes and the two splits that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from breedclf.config import TrainingConfig
from breedclf.data.image_folder import training_images
from breedclf.data.split import Split


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
        DataError: the folder is missing, can be read in more than one way, or has no images to train or validate on.
    """
    folder = training_images(config)
    return TrainingData(folder.labels, folder.class_names, folder.split("train"), folder.split("valid"))
