"""The closed form of heads trained without one image or group, compared with heads that are trained so."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.label_review.left_out import LeftOut


def ridge(features: np.ndarray, labels: np.ndarray, rest: np.ndarray, classes: int, penalty: float) -> np.ndarray:
    """The scores of all images by a head that is trained on some rows, by the normal equations."""
    deviation = features.std(0)
    scaled = (features - features.mean(0)) / np.where(deviation < 1e-6, np.inf, deviation) / features.shape[1] ** 0.5
    scaled = np.hstack([scaled, np.ones((len(scaled), 1))])
    targets, some = np.eye(classes)[labels], scaled[rest]
    penalties = np.diag([penalty] * features.shape[1] + [0.0])
    return scaled @ np.linalg.solve(some.T @ some + penalties, some.T @ targets[rest])


@pytest.mark.parametrize(("count", "width"), [(30, 8), (20, 50)], ids=["narrow", "wide"])
@pytest.mark.parametrize("group_size", [1, 3, 12])
def test_each_image_is_predicted_by_a_head_trained_without_its_group(count: int, width: int, group_size: int) -> None:
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(count, width)).astype(np.float32), draw.integers(0, 3, count)
    groups = ["a" if row < group_size else "" for row in range(count)]
    scores = LeftOut.of(features, groups).scores(labels, 3, penalty=2.0)
    for row in range(count):
        left_out = {*range(group_size)} if row < group_size else {row}
        rest = np.array([at for at in range(count) if at not in left_out])
        np.testing.assert_allclose(scores[row], ridge(features, labels, rest, 3, 2.0)[row], atol=2e-4)


def test_random_features_predict_no_labels() -> None:
    labels, accuracies = np.arange(24) % 2, []
    for seed in range(40):
        features = np.random.default_rng(seed).normal(size=(24, 256)).astype(np.float32)
        scores = LeftOut.of(features, [""] * 24).scores(labels, 2, 3.0)
        accuracies.append((scores.argmax(1) == labels).mean())
    assert np.mean(accuracies) < 0.55


def test_constant_features_predict_the_share_of_each_class_among_the_others() -> None:
    scores = LeftOut.of(np.ones((6, 4), np.float32), [""] * 6).scores(np.array([0, 0, 0, 0, 1, 1]), 2, 1.0)
    np.testing.assert_allclose(scores, [[3 / 5, 2 / 5]] * 4 + [[4 / 5, 1 / 5]] * 2, atol=1e-6)
