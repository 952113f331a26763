"""Review the labels of a dataset by the features of its images."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from breedclf.config import TrainingConfig
from breedclf.data.given_images import GivenImages
from breedclf.errors import ConfigError, DataError
from breedclf.label_review.images import ReviewedImages, reviewed_images
from breedclf.label_review.left_out import LeftOut
from breedclf.label_review.precision import Judged, judged, label_noise, probability_wrong
from breedclf.label_review.result import RANKS, NearDuplicates, Neighbor, Outlier, Review, Suspect, TwinEffect
from breedclf.label_review.similarity import NEIGHBORS, Similarities, connected

log: logging.Logger = logging.getLogger(__name__)

MIN_ACCURACY = 0.7
MIN_PROBABILITY = 0.2
_FEWEST_IMAGES = 4


def review(
    config: TrainingConfig,
    *,
    images: GivenImages | None = None,
    min_accuracy: float = MIN_ACCURACY,
    min_probability: float = MIN_PROBABILITY,
) -> Review:
    """Find images whose label is probably wrong, near duplicates and outliers, in all splits.

    The features of all images are computed once and stored, where training finds them. Each image is then predicted by
    a linear head that was trained on the others, without its near duplicates. How often suspects are wrong is
    measured: 5% of the labels are flipped at random, and found again or not.

    Args:
        config: names the images, the backbone and its weights; settings of the head aren't used.
        images: labeled images in place of the folder of `config`.
        min_accuracy: if fewer images, from 0 to 1, are predicted as labeled, no suspects are listed.
        min_probability: list suspects whose label is wrong with at least this probability, from 0 to 1.

    Raises:
        ConfigError: the settings continue a model, or an argument is out of range.
        DataError: the images can't be used, or fewer than four can be read.
        WeightsError: the weights can't be loaded, or their features contain NaN.

    Example:
        >>> from breedclf import TrainingConfig, review
        >>> found = review(TrainingConfig(data="dogImages"))  # doctest: +SKIP
        >>> found.suspects[0].path, found.suspects[0].proposed  # doctest: +SKIP
        ('train/007.Beagle/0412.jpg', '030.Harrier')
    """
    for name, value in (("min_accuracy", min_accuracy), ("min_probability", min_probability)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value:g}: choose a number from 0 to 1")
    found = reviewed_images(config, images)
    labels, classes = found.targets, len(found.labels)
    if len(labels) < _FEWEST_IMAGES:
        raise DataError(f"only {len(labels)} images can be read: a review needs at least {_FEWEST_IMAGES}")
    similar = Similarities.of(found.features, labels)
    least = similar.twins_from()
    twins = [] if _all_equal(found) else similar.twins(least)
    groups = connected([(one, other) for one, other, _ in twins], found.groups)
    heads = LeftOut.of(found.features, groups)
    result = judged(heads, labels, classes)
    can_judge = _can_judge(labels, groups)
    accuracy = float((result.probabilities.argmax(1) == labels)[can_judge].mean()) if can_judge.any() else 0.0
    refused = _refusal(labels, can_judge, accuracy, min_accuracy)
    noise = None if refused else label_noise(heads, labels, result, config.split_seed)
    wrong = (
        np.zeros(len(labels)) if noise is None else probability_wrong(heads, labels, result, noise, config.split_seed)
    )
    order = np.argsort(result.confidence(labels), kind="stable")
    rows = [int(row) for row in order if can_judge[row] and wrong[row] >= max(min_probability, 1e-6)]
    chances = wrong[rows]
    near = _near_duplicates(found, twins)
    return Review(
        suspects=[_suspect(found, similar, result, row, float(wrong[row])) for row in rows],
        near_duplicates=near,
        outliers=[_outlier(found, similar, row) for row in similar.outliers()],
        refused=refused,
        accuracy=accuracy,
        error_rate=None if noise is None else noise.error_rate,
        expected_precision=float(chances.mean()) if rows else None,
        precision_at={first: float(chances[:first].mean()) for first in RANKS if first <= len(rows)},
        near_duplicates_from=least,
        twin_effect=_twin_effect(found, near, classes, result.penalty),
        count=len(labels),
        not_judged=int((~can_judge).sum()),
        skipped=found.skipped,
        images=found,
    )


def _all_equal(found: ReviewedImages) -> bool:
    return bool(np.allclose(found.features, found.features[0], rtol=1e-4, atol=1e-6))


def _can_judge(labels: NDArray[np.int64], groups: list[str]) -> NDArray[np.bool_]:
    """Whether the class of each image has images that aren't of its own group, bool [N]."""
    units = [group or f"image {row}" for row, group in enumerate(groups)]
    of_class: dict[int, set[str]] = {}
    for label, unit in zip(labels.tolist(), units, strict=True):
        of_class.setdefault(label, set()).add(unit)
    return np.array([len(of_class[label]) > 1 for label in labels.tolist()])


def _refusal(
    labels: NDArray[np.int64], can_judge: NDArray[np.bool_], accuracy: float, min_accuracy: float
) -> str | None:
    """Why suspects aren't listed, if so."""
    if not can_judge.any():
        return "every class has a single image, or near duplicates of one, so that no label can be checked: add images"
    if accuracy < min_accuracy:
        return (
            f"only {accuracy:.1%} of the images are predicted as they are labeled, by heads trained on the others; "
            f"below {min_accuracy:.0%} most suspects would be correct: use a better backbone, or more images"
        )
    largest = np.bincount(labels[can_judge]).max() / can_judge.sum()
    if accuracy <= largest:
        return (
            f"{accuracy:.1%} of the images are predicted as they are labeled, no more than the {largest:.1%} of the "
            "largest class: the features don't distinguish the classes; use other weights"
        )
    return None


def _suspect(found: ReviewedImages, similar: Similarities, result: Judged, row: int, wrong: float) -> Suspect:
    given = found.split.targets[row]
    others = result.probabilities[row].copy()
    others[given] = -1
    neighbors = [
        Neighbor(found.path(other), found.labels[found.split.targets[other]], float(similarity), other)
        for other, similarity in zip(
            similar.neighbors[row, :NEIGHBORS].tolist(), similar.similarities[row], strict=False
        )
    ]
    return Suspect(
        path=found.path(row),
        split=found.split_names[row],
        given=found.labels[given],
        proposed=found.labels[int(others.argmax())],
        probability_wrong=wrong,
        confidence=float(result.probabilities[row, given]),
        neighbours=neighbors,
        row=row,
    )


def _near_duplicates(found: ReviewedImages, twins: list[tuple[int, int, float]]) -> list[NearDuplicates]:
    clusters: dict[str, list[int]] = {}
    cluster_of = connected([(one, other) for one, other, _ in twins], [""] * len(found.split))
    for row, cluster in enumerate(cluster_of):
        if cluster:
            clusters.setdefault(cluster, []).append(row)
    lowest: dict[str, float] = {}
    for one, _, similarity in twins:
        lowest[cluster_of[one]] = min(similarity, lowest.get(cluster_of[one], 1.0))
    near = [
        NearDuplicates(
            paths=[found.path(row) for row in rows],
            splits=[found.split_names[row] for row in rows],
            labels=[found.labels[found.split.targets[row]] for row in rows],
            similarity=min(1.0, lowest[cluster]),
            across_splits=len({found.split_names[row] for row in rows}) > 1,
            rows=rows,
        )
        for cluster, rows in clusters.items()
    ]
    return sorted(near, key=lambda each: (not each.across_splits, -each.similarity))


def _outlier(found: ReviewedImages, similar: Similarities, row: int) -> Outlier:
    within = float(similar.class_distance[row])
    return Outlier(
        path=found.path(row),
        split=found.split_names[row],
        given=found.labels[found.split.targets[row]],
        distance=float(similar.distance[row]),
        class_distance=None if np.isnan(within) else within,
        row=row,
    )


def _twin_effect(found: ReviewedImages, near: list[NearDuplicates], classes: int, penalty: float) -> TwinEffect | None:
    """The test accuracy of a head that is trained on all other images, with and without twins of those."""
    is_test = np.array([name == "test" for name in found.split_names])
    twin = np.zeros(len(is_test), bool)
    for each in near:
        if each.across_splits and not is_test[list(each.rows)].all():
            twin[list(each.rows)] = True
    twin &= is_test
    if not twin.any():
        return None
    heads = LeftOut.of(found.features, ["test" if test else "" for test in is_test])
    correct = heads.scores(found.targets, classes, penalty).argmax(1) == found.targets
    apart = is_test & ~twin
    return TwinEffect(int(is_test.sum()), int(correct[is_test].sum()), int(apart.sum()), int(correct[apart].sum()))
