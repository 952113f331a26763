"""Two models on the same images: whether one is better, and which images they predict differently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breedclf.evaluation.paired import mcnemar
from breedclf.evaluation.result import NORMAL_95, wilson_interval


@dataclass(frozen=True)
class FlippedImage:
    """An image that exactly one of the two models predicts correctly.

    `image` is its path, relative to the dataset; `first` and `second` are the predicted labels.
    """

    image: str
    label: str
    first: str
    second: str

    @property
    def mended(self) -> bool:
        """Whether the second model is the correct one."""
        return self.second == self.label


@dataclass(frozen=True)
class ClassWins:
    """The images of one class that only the first and only the second model predicts correctly."""

    label: str
    count: int
    only_first: int
    only_second: int


@dataclass(frozen=True)
class ModelComparison:
    """Two models, `a` and `b`, on the same images.

    Args:
        a, b: what was compared, as shown to people.
        count: the number of images.
        both, only_a, only_b, neither: how many of them both models, only one, or neither predict correctly.
        p_value: of McNemar's exact test, two-sided: how likely a difference of this size is by chance alone.
        difference: the accuracy of `b` minus that of `a`, from -1 to 1.
        difference_interval: its 95% interval, which accounts for the models' predicting the same images.
        classes: per-class counts, the largest change first.
        flipped: the images that exactly one model predicts correctly.
        skipped: the reasons of unreadable images.
    """

    a: str
    b: str
    count: int
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    difference: float
    difference_interval: tuple[float, float]
    accuracy_a: float
    accuracy_b: float
    interval_a: tuple[float, float]
    interval_b: tuple[float, float]
    classes: Sequence[ClassWins]
    flipped: Sequence[FlippedImage]
    skipped: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """The comparison in one line."""
        what = f"{self.only_b} mended, {self.only_a} broken, p = {self.p_value:.3g}"
        if self.p_value >= 0.05:
            return f"{self.a} and {self.b} can't be distinguished on {self.count:,} images: {what}"
        better = self.b if self.difference > 0 else self.a
        return f"{better} is better on {self.count:,} images: {what}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {name: value for name, value in vars(self).items() if name not in ("classes", "flipped")}
        return plain | {
            "verdict": self.verdict,
            "classes": [vars(each) for each in self.classes],
            "flipped": [vars(each) for each in self.flipped],
        }


def compared(
    names: tuple[str, str],
    labels: Sequence[str],
    targets: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    images: Sequence[str],
    skipped: Sequence[str] = (),
) -> ModelComparison:
    """Compare the predictions of two models.

    Args:
        names: the two models, as shown to people.
        labels: of the classes.
        targets: the index of each image's class [N].
        first, second: the indices that the models predict [N].
        images: the path of each image.
        skipped: the reasons of unreadable images.
    """
    right_a, right_b = first == targets, second == targets
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    count = len(targets)
    wins = [
        ClassWins(
            label,
            int((of_class := targets == index).sum()),
            int((of_class & right_a & ~right_b).sum()),
            int((of_class & right_b & ~right_a).sum()),
        )
        for index, label in enumerate(labels)
    ]
    return ModelComparison(
        a=names[0],
        b=names[1],
        count=count,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        p_value=mcnemar(only_a, only_b),
        difference=(only_b - only_a) / count,
        difference_interval=paired_difference_interval(only_a, only_b, count),
        accuracy_a=(both + only_a) / count,
        accuracy_b=(both + only_b) / count,
        interval_a=wilson_interval(both + only_a, count),
        interval_b=wilson_interval(both + only_b, count),
        classes=tuple(sorted(wins, key=lambda each: (-abs(each.only_second - each.only_first), each.label))),
        flipped=tuple(
            FlippedImage(images[i], labels[targets[i]], labels[first[i]], labels[second[i]])
            for i in np.flatnonzero(right_a != right_b).tolist()
        ),
        skipped=tuple(skipped),
    )


def paired_difference_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """The 95% interval of the second proportion minus the first, both measured on the same images.

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics
    in Medicine, 2005: Wald's interval after adding 0.5 to each of the four counts.

    Raises:
        ValueError: a count is negative, or more images differ than there are.

    Example:
        >>> tuple(round(bound, 3) for bound in paired_difference_interval(3, 12, 100))
        (0.013, 0.164)
    """
    if min(only_first, only_second) < 0 or only_first + only_second > count or count < 1:
        raise ValueError(f"{only_first} and {only_second} of {count} are not counts of images")
    first, second, total = only_first + 0.5, only_second + 0.5, count + 2
    center = (second - first) / total
    half = NORMAL_95 * math.sqrt(first + second - (second - first) ** 2 / total) / total
    return max(-1.0, center - half), min(1.0, center + half)
