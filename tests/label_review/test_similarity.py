"""Neighbors, near duplicates and outliers, compared with the whole matrix of similarities."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.label_review import similarity
from breedclf.label_review.similarity import Similarities, connected


@pytest.mark.parametrize("block_values", [50, 1 << 20], ids=["blocks", "at-once"])
def test_blocks_give_what_the_whole_matrix_gives(block_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BLOCK_VALUES", block_values)
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(40, 12)).astype(np.float32), np.arange(40) % 3
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    whole = unit @ unit.T
    np.fill_diagonal(whole, -np.inf)
    found = Similarities.of(features, labels)
    np.testing.assert_array_equal(found.neighbors[:, :3], np.argsort(-whole, axis=1)[:, :3])
    np.testing.assert_allclose(found.distance, 1 - np.sort(whole, axis=1)[:, -5], atol=1e-5)
    within = [1 - np.sort(whole[row][labels == labels[row]])[-5] for row in range(40)]
    np.testing.assert_allclose(found.class_distance, within, atol=1e-5)


def test_copies_with_small_changes_are_near_duplicates_and_others_are_not() -> None:
    draw = np.random.default_rng(0)
    features = np.abs(draw.normal(size=(100, 64))).astype(np.float32)
    features[90:] = features[:10] + 0.02 * draw.normal(size=(10, 64))
    found = Similarities.of(features, np.zeros(100, np.int64))
    pairs = found.twins(found.twins_from())
    assert [(one, other) for one, other, _ in pairs] == [(row, row + 90) for row in range(10)]


def test_an_image_far_from_all_others_is_an_outlier() -> None:
    draw = np.random.default_rng(0)
    features = (5 + draw.normal(size=(60, 16))).astype(np.float32)
    features[17] *= np.where(np.arange(16) % 2, 1, -1)
    assert Similarities.of(features, np.zeros(60, np.int64)).outliers() == [17]


def test_a_class_with_one_image_has_no_distance_within_it() -> None:
    labels = np.array([0, 0, 0, 1])
    found = Similarities.of(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32), labels)
    assert np.isnan(found.class_distance).tolist() == [False, False, False, True]


def test_pairs_and_groups_that_share_images_are_one_group() -> None:
    assert connected([(0, 3), (4, 5)], ["", "a", "a", "", "", ""]) == ["0", "1", "1", "0", "4", "4"]
    assert connected([(2, 3)], ["", "a", "a", ""]) == ["", "1", "1", "1"]
