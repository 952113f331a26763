"""Scores of labels against cleanlab, and the heads behind them against scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from breedclf.label_review.left_out import LeftOut
from breedclf.label_review.precision import isotonic_falling, judged
from tests.oracles.conftest import Trained

rank = pytest.importorskip("cleanlab.rank", reason="make test-oracles runs this")
linear_model = pytest.importorskip("sklearn.linear_model", reason="make test-oracles runs this")
isotonic = pytest.importorskip("sklearn.isotonic", reason="make test-oracles runs this")

Floats = npt.NDArray[np.float32]


def _random(images: int = 60, width: int = 24, classes: int = 3) -> tuple[Floats, npt.NDArray[np.int64]]:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, classes, images)
    centers = 2 * draw.normal(size=(classes, width))
    return (centers[labels] + draw.normal(size=(images, width))).astype(np.float32), labels


@pytest.mark.parametrize(("images", "width"), [(60, 24), (30, 50)])
@pytest.mark.parametrize("penalty", [0.3, 10.0])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_head_that_was_trained_on_the_other_images(images: int, width: int, penalty: float, grouped: bool) -> None:
    """One ridge regression per image or group, trained on all others."""
    features, labels = _random(images, width)
    groups = [f"{row // 3}" if grouped and row < 12 else "" for row in range(images)]
    targets = np.eye(3)[labels]
    scaled = (features - features.mean(0)) / (features.std(0) * width**0.5)
    expected = np.empty((images, 3))
    for row in range(images):
        left_out = np.array([at == row or (groups[at] != "" and groups[at] == groups[row]) for at in range(images)])
        ridge = linear_model.Ridge(alpha=penalty, solver="cholesky")
        ridge.fit(scaled[~left_out], targets[~left_out])
        expected[row] = ridge.predict(scaled[[row]])[0]
    found = LeftOut.of(features, groups).scores(labels, 3, penalty)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def _check_ranking(features: Floats, labels: npt.NDArray[np.int64], classes: int) -> None:
    found = judged(LeftOut.of(features, [""] * len(labels)), labels, classes)
    ours = found.confidence(labels)
    theirs = rank.get_label_quality_scores(labels, found.probabilities, method="self_confidence")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    worst = rank.order_label_issues(np.ones(len(labels), bool), labels, found.probabilities, rank_by="self_confidence")
    assert ours[np.argsort(ours, kind="stable")] == pytest.approx(ours[worst], abs=1e-6)


def test_suspects_of_random_images_are_ranked_as_by_cleanlab() -> None:
    features, labels = _random(120)
    labels[::10] = (labels[::10] + 1) % 3
    _check_ranking(features, labels, 3)


def test_suspects_of_photos_are_ranked_as_by_cleanlab(hymenoptera: Trained) -> None:
    """One label in ten is changed; the changed ones have lower scores than the others."""
    labels = hymenoptera.targets.numpy().copy()
    changed = np.arange(0, len(labels), 10)
    labels[changed] = 1 - labels[changed]
    features = hymenoptera.known.numpy()
    _check_ranking(features, labels, 2)
    scores = judged(LeftOut.of(features, [""] * len(labels)), labels, 2).confidence(labels)
    assert scores[changed].max() < np.median(scores)


def test_the_falling_curve_of_probabilities() -> None:
    values = np.random.default_rng(5).random(80)
    regression = isotonic.IsotonicRegression(increasing=False)
    expected = regression.fit_transform(np.arange(len(values)), values)
    np.testing.assert_allclose(isotonic_falling(values), expected, atol=1e-9)
