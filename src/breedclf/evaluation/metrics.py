"""Metrics of a classifier from its probabilities and the true classes: pure functions on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from breedclf.errors import DataError
from breedclf.evaluation.reliability import CalibrationResult, CoverageResult
from breedclf.evaluation.result import Probabilities, Result, Targets, wilson_interval
from breedclf.evaluation.unknown import Refused, Unlike
from breedclf.text.html_repr import html_repr

__all__ = ["ClassResult", "Evaluation", "measure", "wilson_interval"]

CONFIDENCE_STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_SMALLEST = 1e-300


class ClassResult(Result):
    """The metrics of one class: `support` images belong to it, `predicted` images were classified as it.

    `recall` is None for a class without images, `precision` for a class that was never predicted, `f1` if both are.
    """

    label: str
    class_name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


class MacroAverage(Result):
    """Unweighted means over the classes that have images."""

    precision: float
    recall: float
    f1: float


class Confusion(Result):
    """How many images of class `true` were classified as `predicted`, and their share of all `true` images."""

    true: str
    predicted: str
    count: int
    share: float


class WrongImage(Result):
    """A misclassified image, with the probabilities of the predicted class and of the true class."""

    path: str
    true: str
    predicted: str
    probability: float
    true_probability: float


class ConfidenceStep(Result):
    """The share of images `answered` with at least `min_confidence`, and the `accuracy` among these."""

    min_confidence: float
    answered: float
    accuracy: float | None


class UsedFeatures(Result):
    """How many images passed through the backbone, and how many had features in the store."""

    computed: int
    reused: int


class Evaluation(Result):
    """The metrics of a model on one split; shares are from 0 to 1, the loss is the mean cross-entropy in nats.

    `confusion[i][j]` counts the images of `labels[i]` that were classified as `labels[j]`. `majority_share` is the
    accuracy of always predicting the most frequent class of the split. `skipped` says why images were left out.
    `known_share` is the share of the images that aren't answered "none of these", by distance and by `min_confidence`;
    it and `refused` are None if the model has no feature bank. `unlike` and `coverage` are None unless asked for.
    `views` are those whose probabilities were averaged, "plain", or "plain" and "mirrored"; each took one pass.
    `weights_sha256` is the SHA-256 of the model's weights, and `data` the name of the dataset's folder, or the kind of
    images that a program gave. `report` and `features` describe the evaluation itself, and aren't in metrics.json.
    """

    split: str = ""
    accuracy: float
    accuracy_interval: tuple[float, float]
    top5_accuracy: float
    loss: float
    count: int
    majority_share: float
    macro_average: MacroAverage
    per_class: tuple[ClassResult, ...]
    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    most_confused: tuple[Confusion, ...]
    worst: tuple[WrongImage, ...]
    confidence: tuple[ConfidenceStep, ...]
    skipped: tuple[str, ...] = ()
    views: tuple[str, ...] = ("plain",)
    known_share: float | None = None
    refused: Refused | None = None
    unlike: Unlike | None = None
    calibration: CalibrationResult | None = None
    coverage: CoverageResult | None = None
    weights_sha256: str | None = None
    data: str | None = None
    report: str | None = None
    features: UsedFeatures | None = None

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        return (
            f"Evaluation({self.split!r}, accuracy {self.accuracy:.1%} of {self.count} images "
            f"(95% interval {low:.1%} to {high:.1%}), loss {self.loss:.4f})"
        )

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.evaluation.view import evaluation_view

        return evaluation_view(self)


def measure(
    probabilities: Probabilities,
    targets: Targets,
    labels: Sequence[str],
    paths: Sequence[PurePath | str],
    *,
    class_names: Sequence[str] | None = None,
    most_confused: int = 20,
    worst: int = 12,
    split: str = "",
    skipped: Sequence[str] = (),
) -> Evaluation:
    """Compute all metrics.

    Args:
        probabilities: float [N, C], one row per image; rows sum to 1.
        targets: int [N], the column of the true class of each row.
        labels: the C classes.
        paths: the names of the N images in the result.
        class_names: the classes as they are shown to people (default: the labels).
        most_confused: how many pairs of classes to list.
        worst: how many misclassified images to list; those with the lowest probability of the true class come first.
        split: the name of the split.
        skipped: the reasons of images that were left out.

    Raises:
        DataError: there are no images.
        ValueError: the shapes don't match, a target is out of range, or a probability isn't finite.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
        >>> round(measure(rows, np.array([0, 1, 1]), ["ant", "bee"], ["a", "b", "c"]).accuracy, 3)
        0.667
    """
    _check(probabilities, targets, labels, paths)
    names = tuple(labels if class_names is None else class_names)
    count, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == targets).sum())
    confusion = confusion_matrix(predicted, targets, classes)
    per_class = class_results(confusion, labels, names)
    return Evaluation(
        split=split,
        accuracy=correct / count,
        accuracy_interval=wilson_interval(correct, count),
        top5_accuracy=float((ranks(probabilities, targets) < 5).mean()),
        loss=cross_entropy(probabilities, targets),
        count=count,
        majority_share=int(confusion.sum(axis=1).max()) / count,
        macro_average=macro_average(per_class),
        per_class=per_class,
        labels=tuple(labels),
        class_names=names,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        most_confused=confused_pairs(confusion, labels, most_confused),
        worst=_worst(probabilities, predicted, targets, labels, paths, worst),
        confidence=confidence_steps(probabilities, targets),
        skipped=tuple(skipped),
    )


def cross_entropy(probabilities: Probabilities, targets: Targets) -> float:
    """The mean of -log(probability of the true class), in nats."""
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(chosen, _SMALLEST)).mean()) + 0.0


def ranks(probabilities: Probabilities, targets: Targets) -> npt.NDArray[np.intp]:
    """The rank of the true class in each row, [N], from 0; ties are ordered by column."""
    own = probabilities[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(probabilities.shape[1])[None, :] < targets[:, None]
    return np.asarray(((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1))


def confusion_matrix(predicted: Targets, targets: Targets, classes: int) -> npt.NDArray[np.int64]:
    """Counts [C, C]: rows are true classes, columns predicted ones."""
    return np.bincount(targets * classes + predicted, minlength=classes**2).reshape(classes, classes)


def class_results(
    confusion: npt.NDArray[np.int64], labels: Sequence[str], class_names: Sequence[str]
) -> tuple[ClassResult, ...]:
    """Precision, recall and F1 of every class."""
    results = []
    for index, (label, class_name) in enumerate(zip(labels, class_names, strict=True)):
        hits, support = int(confusion[index, index]), int(confusion[index].sum())
        predicted = int(confusion[:, index].sum())
        results.append(
            ClassResult(
                label=label,
                class_name=class_name,
                precision=hits / predicted if predicted else None,
                recall=hits / support if support else None,
                f1=2 * hits / (support + predicted) if support + predicted else None,
                support=support,
                predicted=predicted,
            )
        )
    return tuple(results)


def macro_average(per_class: Sequence[ClassResult]) -> MacroAverage:
    """Means over the classes with images; the precision of a class that was never predicted counts as 0."""
    present = [result for result in per_class if result.support]

    def mean(values: Sequence[float | None]) -> float:
        return sum(value or 0.0 for value in values) / len(values)

    return MacroAverage(
        precision=mean([result.precision for result in present]),
        recall=mean([result.recall for result in present]),
        f1=mean([result.f1 for result in present]),
    )


def confused_pairs(confusion: npt.NDArray[np.int64], labels: Sequence[str], most: int) -> tuple[Confusion, ...]:
    """The errors by pair of classes, sorted by count, then by share, then by the order of the classes."""
    support = confusion.sum(axis=1)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(confusion) if i != j]
    pairs.sort(key=lambda pair: (-confusion[pair], -confusion[pair] / support[pair[0]], pair))
    return tuple(
        Confusion(true=labels[i], predicted=labels[j], count=int(confusion[i, j]), share=confusion[i, j] / support[i])
        for i, j in pairs[:most]
    )


def confidence_steps(
    probabilities: Probabilities, targets: Targets, steps: Sequence[float] = CONFIDENCE_STEPS
) -> tuple[ConfidenceStep, ...]:
    """For each threshold, the share of images at or above it and the accuracy among these."""
    best, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    results = []
    for step in steps:
        sure = best >= step
        accuracy = float(correct[sure].mean()) if sure.any() else None
        results.append(ConfidenceStep(min_confidence=step, answered=float(sure.mean()), accuracy=accuracy))
    return tuple(results)


def _worst(
    probabilities: Probabilities,
    predicted: Targets,
    targets: Targets,
    labels: Sequence[str],
    paths: Sequence[PurePath | str],
    most: int,
) -> tuple[WrongImage, ...]:
    own = probabilities[np.arange(len(targets)), targets]
    wrong = np.flatnonzero(predicted != targets)
    order = wrong[np.argsort(own[wrong], kind="stable")][:most].tolist()
    return tuple(
        WrongImage(
            path=str(paths[row]),
            true=labels[int(targets[row])],
            predicted=labels[int(predicted[row])],
            probability=float(probabilities[row, predicted[row]]),
            true_probability=float(own[row]),
        )
        for row in order
    )


def _check(
    probabilities: Probabilities, targets: Targets, labels: Sequence[str], paths: Sequence[PurePath | str]
) -> None:
    if not len(targets):
        raise DataError("there are no images to evaluate")
    if probabilities.shape != (len(targets), len(labels)) or len(paths) != len(targets):
        raise ValueError(
            f"probabilities {list(probabilities.shape)} don't fit {len(targets)} targets, {len(labels)} labels and "
            f"{len(paths)} paths"
        )
    if targets.min() < 0 or targets.max() >= len(labels):
        raise ValueError(f"a target isn't from 0 to {len(labels) - 1}")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not a finite number")
