"""What a model card says about accuracy: of the validation images and, if the model was evaluated, of others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from breedclf.reporting.proportion import wilson_interval
from breedclf.text.printable import visible_name

if TYPE_CHECKING:
    from breedclf.inference.model_directory import ModelCard

_CHANNELS = PurePath("/opt/ml/input/data")
COUNTS_KEY = "counts"
"""The numbers of images in each split of training, by the split's name, among the training settings of a card."""


@dataclass(frozen=True)
class Measured:
    """The accuracy of a model on the images of one split.

    Args:
        split: train, valid, test or all.
        data: the name of the dataset.
        accuracy: from 0 to 1.
        loss: mean negative log-likelihood in nats; None if it isn't known.
        count: the number of images; None if it isn't known, as with models of older versions.
        confused: pairs of similar classes: the true one, what was predicted, and how many images.
        let_through: the share of images of none of the classes that got one anyway; None if it wasn't measured.
    """

    split: str
    data: str
    accuracy: float
    loss: float | None = None
    count: int | None = None
    confused: tuple[tuple[str, str, int], ...] = ()
    let_through: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% Wilson score interval of the accuracy; None if the number of images isn't known."""
        return wilson_interval(round(self.accuracy * self.count), self.count) if self.count else None


def dataset_name(data: object) -> str:
    """The last part of a dataset's path or URI, without the folders of this machine.

    It is empty if there is no path, or only that of a container's input.

    Example:
        >>> dataset_name("photos/dogImages"), dataset_name("s3://bucket/birds/"), dataset_name(None)
        ('dogImages', 'birds', '')
    """
    path = PurePath(str(data or ""))
    return "" if path.parent == _CHANNELS else visible_name(path.name)


def trained_data(card: ModelCard) -> str:
    """The name of the dataset that a model was trained on, or of the kind of images that a program gave."""
    given = card.training.get("images")
    kind = given.get("kind") if isinstance(given, Mapping) else None
    return dataset_name(card.training.get("data")) or visible_name(str(kind or "images"))


def split_counts(card: ModelCard) -> dict[str, int]:
    """The numbers of images in the splits of training; empty for models of older versions that were given a folder."""
    for key in (COUNTS_KEY, "images"):
        found = card.training.get(key)
        if isinstance(found, Mapping):
            return {name: found[name] for name in ("train", "valid") if isinstance(found.get(name), int)}
    return {}


def validated(card: ModelCard) -> Measured | None:
    """The accuracy on the validation images at the end of training; None if the card doesn't have it."""
    accuracy = card.metrics.get("valid_accuracy")
    if accuracy is None or not 0 <= accuracy <= 1 or not math.isfinite(accuracy):
        return None
    loss = card.metrics.get("valid_loss") if card.calibration is None else card.calibration.nll_after
    return Measured("valid", trained_data(card), accuracy, loss, split_counts(card).get("valid"))
