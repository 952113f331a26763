"""The closed form of heads trained without one image or group, compared with heads that are trained so."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.label_review.left_out import LeftOut


def ridge(features: np.ndarray, labels: np.ndarray, rest: np.ndarray, classes: int, penalty: float) -> np.ndarray:
    """The scores of all images by a head that is trained on some rows, by the normal equations."""
    deviation = features.std(0)
    scaled = (features - features.mean(0)) / np.where(deviation < 1e-6, np.inf, deviation) / features.shape[1] ** 0.5
    targets = np.eye(classes)[labels]
    mean = targets.mean(0)
    some = scaled[rest]
    weights = np.linalg.solve(some.T @ some + penalty * np.eye(scaled.shape[1]), some.T @ (targets - mean)[rest])
    return scaled @ weights + mean


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


def test_constant_features_predict_the_share_of_each_class() -> None:
    scores = LeftOut.of(np.ones((6, 4), np.float32), [""] * 6).scores(np.array([0, 0, 0, 0, 1, 1]), 2, 1.0)
    np.testing.assert_allclose(scores, np.tile([4 / 6, 2 / 6], (6, 1)), atol=1e-6)
