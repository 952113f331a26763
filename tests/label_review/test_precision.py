"""The stated probability of a wrong label, on features whose wrong labels are known."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.label_review.left_out import LeftOut
from breedclf.label_review.precision import flipped_labels, isotonic_falling, judged, probability_wrong


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
    flipped, wrong = next(flipped_labels(labels, 3, np.random.default_rng(seed)))
    found = judged(heads, flipped, 3)
    chances = probability_wrong(heads, flipped, found, seed)
    first = np.argsort(found.confidence(flipped))[:20]
    assert abs(chances[first].mean() - wrong[first].mean()) < 0.1
    assert abs(found.error_rate - wrong.mean()) < 0.03
    assert wrong[first].sum() >= 13, "nearly all of the 15 are found"


def test_little_is_stated_about_correct_labels() -> None:
    features, labels = clusters(0)
    heads = LeftOut.of(features, [""] * 300)
    found = judged(heads, labels, 3)
    first = np.argsort(found.confidence(labels))[:20]
    assert found.error_rate < 0.015
    assert probability_wrong(heads, labels, found, 0)[first].mean() < 0.25


def test_the_same_seed_gives_the_same_probabilities() -> None:
    features, labels = clusters(1)
    heads = LeftOut.of(features, [""] * 300)
    found = judged(heads, labels, 3)
    one, same, other = (probability_wrong(heads, labels, found, seed) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


def test_isotonic_regression_falls_and_keeps_the_mean() -> None:
    values = np.random.default_rng(0).random(200)
    fitted = isotonic_falling(values)
    assert (np.diff(fitted) <= 0).all()
    assert fitted.mean() == pytest.approx(values.mean())
    assert isotonic_falling(np.array([3.0, 2.0, 1.0])).tolist() == [3, 2, 1]
