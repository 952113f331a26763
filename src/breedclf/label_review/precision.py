"""How likely each label is wrong: measured by flipping labels, as many as seem to be wrong, and reviewing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breedclf.label_review.left_out import PENALTIES, Floats, LeftOut

FLIP_REPEATS = 20
_MOST_CERTAIN = 0.99
_RATE_IMAGES, _MOST_RATE_REPEATS = 5000, 20
_TRIED_RATES = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
_NEAR_TEMPERATURES = 2.2
_REPLACED_FROM = 0.4
_TEMPERATURES = np.geomspace(1, 60, 30, dtype=np.float32)
_ERROR_RATES = np.concatenate([[0.0], np.geomspace(0.001, 0.4, 40)])


@dataclass(frozen=True)
class Judged:
    """What heads trained on the other images say about every image.

    Args:
        probabilities: float32 [N, C], of each class, without the image's own label.
        penalty: of the heads.
        apparent_rate: the share of wrong labels, from 0 to 1, if the probabilities were exact.
        temperature: what the scores were multiplied by.
    """

    probabilities: Floats
    penalty: float
    apparent_rate: float
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


@dataclass(frozen=True)
class LabelNoise:
    """How many labels are wrong, and what the labels are taken to be without these.

    Args:
        error_rate: the estimated share of wrong labels, from 0 to 1.
        assumed: int64 [N], the labels, with those that are probably wrong replaced by the predicted ones.
    """

    error_rate: float
    assumed: NDArray[np.int64]


def label_noise(heads: LeftOut, labels: NDArray[np.int64], found: Judged, seed: int) -> LabelNoise:
    """Estimate how many labels are wrong.

    `found.apparent_rate` counts images that the heads find hard among the wrong labels, too. So labels that are assumed
    to be correct are flipped at several rates, and the rate is the one at which as many seem to be wrong as in the
    dataset (indirect inference: Gourieroux, Monfort and Renault, 1993). It is at least that of half an image, so that
    a single wrong label in a clean dataset is found.
    """
    draw, classes = np.random.default_rng([seed, 1]), found.probabilities.shape[1]
    assumed = _assumed(labels, found)
    repeats = min(_MOST_RATE_REPEATS, max(1, _RATE_IMAGES // len(labels)))
    tried = [
        np.mean([_apparent_rate(heads, _flipped(assumed, rate, classes, draw)[0], found) for _ in range(repeats)])
        for rate in _TRIED_RATES
    ]
    rates = np.maximum.accumulate(np.array(tried, np.float64))
    rate = float(np.interp(_apparent_rate(heads, labels, found), rates, _TRIED_RATES))
    return LabelNoise(max(rate, 0.5 / len(labels)), assumed)


def probability_wrong(
    heads: LeftOut, labels: NDArray[np.int64], found: Judged, noise: LabelNoise, seed: int
) -> NDArray[np.float64]:
    """The probability [N] that each label is wrong.

    In each of 20 repeats, as many of the assumed labels are flipped as are estimated to be wrong, and all images are
    predicted again. Isotonic regression of what was flipped, by the confidence in the given class, is the probability.
    """
    draw, classes = np.random.default_rng(seed), found.probabilities.shape[1]
    confidences, flips = [], []
    for _ in range(FLIP_REPEATS):
        flipped, mask = _flipped(noise.assumed, noise.error_rate, classes, draw)
        scores = heads.scores(flipped, classes, found.penalty)
        confidences.append(_softmax(scores * np.float32(found.temperature))[np.arange(len(labels)), flipped])
        flips.append(mask)
    confidence, is_flipped = np.concatenate(confidences), np.concatenate(flips)
    order = np.argsort(confidence, kind="stable")
    share = isotonic_falling(is_flipped[order].astype(np.float64))
    wrong: NDArray[np.float64] = np.minimum(
        _MOST_CERTAIN, np.interp(found.confidence(labels), confidence[order], share)
    )
    return wrong


def _assumed(labels: NDArray[np.int64], found: Judged) -> NDArray[np.int64]:
    """The labels [N], those that are wrong with a probability of 40% or more replaced by the predicted ones.

    At 50% more wrong labels are left, and the stated precision was too low on datasets with strong heads; at 30%
    correct labels are replaced, and it was too high with weak ones.
    """
    given, rate = found.confidence(labels).astype(np.float64), found.apparent_rate
    if_wrong = rate * (1 - given) / max(1, found.probabilities.shape[1] - 1)
    wrong = if_wrong / np.maximum(if_wrong + (1 - rate) * given, 1e-12)
    return np.where(wrong >= _REPLACED_FROM, found.probabilities.argmax(1), labels)


def _apparent_rate(heads: LeftOut, labels: NDArray[np.int64], found: Judged) -> float:
    """The apparent rate of other labels of the same images, with the penalty and about the temperature of `found`."""
    scores = heads.scores(labels, found.probabilities.shape[1], found.penalty)
    ratio = _TEMPERATURES / np.float32(found.temperature)
    near = _TEMPERATURES[(ratio < _NEAR_TEMPERATURES) & (ratio > 1 / _NEAR_TEMPERATURES)]
    return _mean_rate(np.stack([_likelihoods(scores * temperature, labels) for temperature in near]))


def _flipped(
    labels: NDArray[np.int64], rate: float, classes: int, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels [N], of which this share is replaced by another class, and which ones.

    The count is rounded up or down at random, so that its mean is exact.
    """
    mask = np.zeros(len(labels), bool)
    mask[draw.choice(len(labels), int(rate * len(labels) + draw.random()), replace=False)] = True
    return np.where(mask, (labels + draw.integers(1, classes, len(labels))) % classes, labels), mask


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
