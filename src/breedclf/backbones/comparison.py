"""The result of a comparison: every candidate with its accuracy and speed, and the one to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breedclf.config import TrainingConfig
from breedclf.evaluation.paired import LEVEL, mcnemar
from breedclf.evaluation.result import wilson_interval
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path


@dataclass(frozen=True)
class ComparedBackbone:
    """A backbone and how well it does on the images of a comparison.

    Args:
        name: the architecture.
        weights: as in the settings.
        accuracy: the share of images, from 0 to 1, that heads trained on other images classify correctly.
        accuracy_interval: its 95% Wilson interval.
        correct: the number of those images.
        p_value: of McNemar's exact test against the first candidate.
        p_value_of_best: of the same test against the most accurate candidate.
        images_per_second: through the network on this machine, without decoding, timed before the pass.
        model_mb: size of the trained model.
        license: that of the weights; None if it isn't known, as for a file.
        parameters: of the trained model.
        features: the number of features per image.
        image_px: height and width in pixels of the network's input.
        computed: images that passed through the backbone.
        reused: images whose features were stored.
        seconds: how long the pass over the images and the training of the heads took.
        config: settings that train a model with this backbone.
    """

    name: str
    weights: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    correct: int
    p_value: float
    p_value_of_best: float
    images_per_second: float
    model_mb: float
    license: str | None
    parameters: int
    features: int
    image_px: int
    computed: int
    reused: int
    seconds: float
    config: TrainingConfig = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the settings."""
        values = {name: value for name, value in vars(self).items() if name != "config"}
        return {**values, "accuracy_interval": list(self.accuracy_interval)}


@dataclass(frozen=True)
class BackboneComparison:
    """Backbones compared on the same images, with the same heads and folds.

    Args:
        candidates: in the given order.
        best: the fastest of those that can't be distinguished from the most accurate one.
        images: how many images were classified.
        available: how many training and validation images there are.
        classes: the number of classes.
        folds: the number of folds.
        left_out: the reasons why candidates weren't compared, by name.
        skipped: the reasons of unreadable images that were left out.
        seconds: how long the comparison took.
        budget_seconds: its budget; None for none.
        device: where features were computed.
        precision: of the features.
    """

    candidates: tuple[ComparedBackbone, ...]
    best: ComparedBackbone
    images: int
    available: int
    classes: int
    folds: int
    left_out: Mapping[str, str]
    skipped: tuple[str, ...]
    seconds: float
    budget_seconds: float | None
    device: str
    precision: str

    @property
    def most_accurate(self) -> ComparedBackbone:
        """The candidate with the highest accuracy; of equal ones the fastest."""
        return self.candidates[_most_accurate([each.correct for each in self.candidates], self._speeds)]

    @property
    def _speeds(self) -> list[float]:
        return [each.images_per_second for each in self.candidates]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `best` is the name of the best candidate."""
        return {
            "best": self.best.name,
            "candidates": [each.to_dict() for each in self.candidates],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out.items()],
            "images": self.images,
            "available": self.available,
            "classes": self.classes,
            "folds": self.folds,
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
            "budget_seconds": self.budget_seconds,
            "device": self.device,
            "precision": self.precision,
        }

    def report(self, path: StrPath) -> None:
        """Write an HTML report: accuracy and speed of each candidate, and why the best one is it.

        Raises:
            ConfigError: the file can't be written.
            DiskError: the disk is full.
        """
        from breedclf.backbones.report import comparison_page

        write_output(user_path(path, "report"), comparison_page(self), "make room, or choose another --report")


@dataclass(frozen=True)
class PairedResult:
    """The images that a candidate classifies correctly, compared with those of two others."""

    correct: int
    accuracy: float
    interval: tuple[float, float]
    p_value: float
    p_value_of_best: float


def paired_results(correct: Sequence[NDArray[np.bool_]], speeds: Sequence[float]) -> list[PairedResult]:
    """Compare candidates by whether each classifies each image correctly, bool [N], and by images per second."""
    counts = [int(each.sum()) for each in correct]
    first, best = correct[0], correct[_most_accurate(counts, speeds)]
    return [
        PairedResult(
            count, count / len(each), wilson_interval(count, len(each)), _p_value(first, each), _p_value(best, each)
        )
        for count, each in zip(counts, correct, strict=True)
    ]


def pick(p_values_of_best: Sequence[float], speeds: Sequence[float]) -> int:
    """The fastest of the candidates that can't be distinguished from the most accurate one.

    Example:
        >>> pick([0.001, 0.4, 1.0], speeds=[300, 120, 40])
        1
    """
    level = [at for at, p_value in enumerate(p_values_of_best) if p_value >= LEVEL]
    return max(level, key=lambda at: speeds[at])


def _most_accurate(counts: Sequence[int], speeds: Sequence[float]) -> int:
    return max(range(len(counts)), key=lambda at: (counts[at], speeds[at]))


def _p_value(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return mcnemar(int((one & ~other).sum()), int((other & ~one).sum()))
