"""How likely each label is wrong: measured by flipping labels, and scaled by an estimate of how many are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breedclf.label_review.left_out import PENALTIES, Floats, LeftOut

FLIPPED_SHARE = 0.05
FLIP_REPEATS = 20
_MOST_CERTAIN = 0.99
_TEMPERATURES = np.geomspace(1, 60, 30, dtype=np.float32)
_ERROR_RATES = np.concatenate([[0.0], np.geomspace(0.001, 0.4, 40)])


@dataclass(frozen=True)
class Judged:
    """What heads trained on the other images say about every image.

    Args:
        probabilities: float32 [N, C], of each class, without the image's own label.
        penalty: of the heads.
        error_rate: the estimated share of wrong labels, from 0 to 1.
        temperature: what the scores were multiplied by.
    """

    probabilities: Floats
    penalty: float
    error_rate: float
    temperature: float

    def confidence(self, labels: NDArray[np.int64]) -> Floats:
        """The probability [N] of the given class of each image; a low one makes it a suspect."""
        found: Floats = self.probabilities[np.arange(len(labels)), labels]
        return found


def judged(heads: LeftOut, labels: NDArray[np.int64], classes: int) -> Judged:
    """Predict each image by heads trained on the others, with the penalty that explains the labels best.

    A label is taken to be wrong with a fixed probability, and then any of the other classes (Angluin and Laird,
    Learning From Noisy Examples, 1988). The temperature is that of the highest likelihood; the error rate is its mean
    over the likelihood, with all rates up to 40% equally probable before.
    """
    best: tuple[float, Judged] | None = None
    for penalty in PENALTIES:
        scores = heads.scores(labels, classes, penalty)
        likelihoods = np.stack([_likelihoods(scores * temperature, labels) for temperature in _TEMPERATURES])
        at = int(likelihoods.max(1).argmax())
        if best is None or likelihoods[at].max() > best[0]:
            rate = _mean_rate(likelihoods)
            probabilities = _softmax(scores * _TEMPERATURES[at])
            best = float(likelihoods[at].max()), Judged(probabilities, penalty, rate, float(_TEMPERATURES[at]))
    assert best is not None
    return best[1]


def _likelihoods(scores: Floats, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The log-likelihood of the labels [N] for each error rate."""
    given = _softmax(scores)[np.arange(len(labels)), labels].astype(np.float64)
    other = (1 - given) / max(1, scores.shape[1] - 1)
    return np.array([np.log((1 - rate) * given + rate * other + 1e-12).sum() for rate in _ERROR_RATES])


def _mean_rate(likelihoods: NDArray[np.float64]) -> float:
    """The mean of the error rate, given log-likelihoods [temperatures, rates]."""
    weights = np.exp(likelihoods - likelihoods.max()) * np.gradient(_ERROR_RATES)
    return float((weights * _ERROR_RATES).sum() / weights.sum())


def probability_wrong(heads: LeftOut, labels: NDArray[np.int64], found: Judged, seed: int) -> NDArray[np.float64]:
    """The probability [N] that each label is wrong.

    In each repeat 5% of the labels are flipped at random and all images predicted again. Isotonic regression of what
    was flipped, by the confidence in the given class, says how much more often a wrong label has such a confidence
    than any label; times the error rate that is the probability.
    """
    draw, classes = np.random.default_rng(seed), found.probabilities.shape[1]
    confidences, flips = [], []
    for flipped, mask in flipped_labels(labels, classes, draw):
        scores = heads.scores(flipped, classes, found.penalty)
        confidences.append(_softmax(scores * np.float32(found.temperature))[np.arange(len(labels)), flipped])
        flips.append(mask)
    confidence, is_flipped = np.concatenate(confidences), np.concatenate(flips)
    order = np.argsort(confidence, kind="stable")
    share = isotonic_falling(is_flipped[order].astype(np.float64))
    at = np.interp(found.confidence(labels), confidence[order], share)
    rate = is_flipped.mean()
    odds = at / np.maximum(1 - at, 1e-9)
    wrong: NDArray[np.float64] = np.minimum(_MOST_CERTAIN, found.error_rate * (1 - rate) / rate * odds)
    return wrong


def flipped_labels(
    labels: NDArray[np.int64], classes: int, draw: np.random.Generator, repeats: int = FLIP_REPEATS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Labels [N] with 5% of them replaced by another class, and which ones those are."""
    count = max(1, round(FLIPPED_SHARE * len(labels)))
    for _ in range(repeats):
        some = draw.choice(len(labels), count, replace=False)
        flipped, mask = labels.copy(), np.zeros(len(labels), bool)
        flipped[some] = (labels[some] + draw.integers(1, classes, count)) % classes
        mask[some] = True
        yield flipped, mask


def isotonic_falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The falling sequence [N] with the least squared distance to values, by pooling adjacent violators.

    Example:
        >>> isotonic_falling(np.array([1.0, 0.0, 1.0, 0.0])).tolist()
        [1.0, 0.5, 0.5, 0.0]
    """
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        mean, size = value, 1
        while means and means[-1] <= mean:
            before = sizes.pop()
            mean = (means.pop() * before + mean * size) / (before + size)
            size += before
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    found: Floats = powers / powers.sum(1, keepdims=True)
    return found
