"""Prediction sets: the classes of an image that contain the right one in a chosen share of the images."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from breedclf.config import Settings
from breedclf.errors import ConfigError
from breedclf.inference.prediction import RankedClass

if TYPE_CHECKING:
    from breedclf.inference.model_directory import ModelCard

MOST_QUANTILES = 256


class ConformalQuantiles(Settings):
    """What the model card says about prediction sets: how improbable the right classes of validation images were.

    The score of an image is 1 minus the probability of its right class. `scores` has those of all `images`, ascending,
    or 256 of them at equal distances, of which the last is the highest.
    """

    scores: tuple[float, ...] = Field(min_length=1, max_length=MOST_QUANTILES)
    images: int = Field(ge=1)

    def limit(self, coverage: float) -> float:
        """The highest score of the classes in a set that contains the right class with probability `coverage`.

        This is the split conformal quantile, the score with rank ceil((n + 1) * coverage) of n images (Angelopoulos and
        Bates, A Gentle Introduction to Conformal Prediction, 2021), or the next higher one that is stored.

        Raises:
            ConfigError: `coverage` isn't between 0 and 1, or there are too few images for it.

        Example:
            >>> ConformalQuantiles(scores=(0.1, 0.2, 0.4, 0.9), images=4).limit(0.6)
            0.4
        """
        if not 0 < coverage < 1:
            raise ConfigError(f"coverage={coverage:g}: choose a share between 0 and 1, such as 0.9")
        rank = math.ceil((self.images + 1) * coverage - 1e-9)
        if rank > self.images:
            needed = math.ceil(coverage / (1 - coverage) - 1e-9)
            highest = math.floor(1_000 * self.images / (self.images + 1)) / 1_000
            raise ConfigError(
                f"coverage={coverage:g} needs at least {needed} validation images, and the model was trained with "
                f"{self.images}: ask for at most {highest:g}, or train with more validation images"
            )
        return self.scores[bisect_left(stored_ranks(self.images), rank)]


def stored_ranks(images: int) -> list[int]:
    """The ranks of the stored scores among those of all images, counted from 1.

    Example:
        >>> stored_ranks(3), stored_ranks(1_000)[-2:]
        ([1, 2, 3], [997, 1000])
    """
    stored = min(images, MOST_QUANTILES)
    return [-(-number * images // stored) for number in range(1, stored + 1)]


def quantiles_of(probabilities: torch.Tensor, targets: torch.Tensor) -> ConformalQuantiles:
    """The quantiles by the calibrated probabilities [N, C] of images not trained on, with classes int64 [N]."""
    scores = (1 - probabilities.double().gather(1, targets[:, None])[:, 0]).clamp(0, 1).sort().values
    ranks = torch.tensor(stored_ranks(len(scores)))
    return ConformalQuantiles(scores=tuple(scores[ranks - 1].tolist()), images=len(scores))


def prediction_set(card: ModelCard, probabilities: torch.Tensor, coverage: float) -> tuple[RankedClass, ...]:
    """The fewest classes, most probable first, that contain the right one in a share `coverage` of images.

    That share is meant for new images like those of validation, not for each class. The most probable class is always
    in the set, so the share is higher where the model alone is right more often than `coverage`.

    Args:
        card: of the model.
        probabilities: of one image, [C].
        coverage: between 0 and 1.

    Raises:
        ConfigError: the model has no quantiles or too few images for this coverage, or it isn't between 0 and 1.
    """
    limit = check_coverage(card, coverage)
    values, order = probabilities.sort(descending=True, stable=True)
    ranked = zip(values.tolist(), order.tolist(), strict=True)
    return tuple(
        RankedClass(card.class_names[index], card.labels[index], value)
        for position, (value, index) in enumerate(ranked)
        if position == 0 or 1 - value <= limit
    )


def check_coverage(card: ModelCard, coverage: float) -> float:
    """The highest score of the classes in prediction sets of this coverage.

    Raises:
        ConfigError: the model has no quantiles or too few images for it, or it isn't between 0 and 1.
    """
    if card.conformal is None:
        raise ConfigError(
            f"coverage={coverage:g}: the model has no quantiles for prediction sets, since it is from an older version "
            "or was trained with calibration=False; train it again"
        )
    return card.conformal.limit(coverage)
