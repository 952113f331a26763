"""The stated probability of a wrong label, on features whose wrong labels are known."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.label_review.left_out import LeftOut
from breedclf.label_review.precision import LabelNoise, isotonic_falling, judged, label_noise, probability_wrong


def clusters(seed: int, distance: float = 4.5) -> tuple[np.ndarray, np.ndarray]:
    """Features of 300 images of three classes, and their classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(300) % 3
    features = draw.normal(size=(300, 30))
    features[:, :3] += distance * np.eye(3)[labels]
    return features.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(3))
def test_the_stated_precision_is_the_true_one(seed: int) -> None:
    features, labels = clusters(seed)
    heads = LeftOut.of(features, [""] * 300)
    wrong = np.zeros(300, bool)
    wrong[np.random.default_rng(seed).choice(300, 15, replace=False)] = True
    flipped = np.where(wrong, (labels + 1) % 3, labels)
    found = judged(heads, flipped, 3)
    noise = label_noise(heads, flipped, found, seed)
    chances = probability_wrong(heads, flipped, found, noise, seed)
    first = np.argsort(found.confidence(flipped))[:20]
    assert abs(chances[first].mean() - wrong[first].mean()) < 0.1
    assert abs(noise.error_rate - wrong.mean()) < 0.03
    assert wrong[first].sum() >= 13, "nearly all of the 15 are found"


def test_little_is_stated_about_correct_labels() -> None:
    features, labels = clusters(0)
    heads = LeftOut.of(features, [""] * 300)
    found = judged(heads, labels, 3)
    first = np.argsort(found.confidence(labels))[:20]
    noise = label_noise(heads, labels, found, 0)
    assert noise.error_rate < 0.005
    assert probability_wrong(heads, labels, found, noise, 0)[first].mean() < 0.1


def test_one_wrong_label_is_found() -> None:
    features, labels = clusters(0)
    labels[7] = (labels[7] + 1) % 3
    heads = LeftOut.of(features, [""] * 300)
    found = judged(heads, labels, 3)
    chances = probability_wrong(heads, labels, found, label_noise(heads, labels, found, 0), 0)
    assert chances.argmax() == 7
    assert chances[7] > 0.5


def test_the_same_seed_gives_the_same_probabilities() -> None:
    features, labels = clusters(1)
    heads = LeftOut.of(features, [""] * 300)
    found = judged(heads, labels, 3)
    noise = LabelNoise(0.05, labels)
    one, same, other = (probability_wrong(heads, labels, found, noise, seed) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


def test_isotonic_regression_falls_and_keeps_the_mean() -> None:
    values = np.random.default_rng(0).random(200)
    fitted = isotonic_falling(values)
    assert (np.diff(fitted) <= 0).all()
    assert fitted.mean() == pytest.approx(values.mean())
    assert isotonic_falling(np.array([3.0, 2.0, 1.0])).tolist() == [3, 2, 1]
