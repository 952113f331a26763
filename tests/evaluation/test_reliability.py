"""Calibration error and prediction sets, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.evaluation.reliability import (
    FEWEST_IMAGES,
    calibration_result,
    coverage_result,
    expected_calibration_error,
    reliability_bins,
)

ROWS = np.array([[0.95, 0.05], [0.85, 0.15], [0.15, 0.85], [0.6, 0.4]])
TARGETS = np.array([0, 1, 1, 0])


def test_bins_hold_the_mean_probability_and_the_accuracy() -> None:
    found = reliability_bins(ROWS, TARGETS)
    assert [(round(each.low, 1), each.count, each.accuracy) for each in found] == [
        (0.5, 1, 1.0),  # 0.6 is the upper edge of its bin
        (0.8, 2, 0.5),
        (0.9, 1, 1.0),
    ]
    assert [each.confidence for each in found] == pytest.approx([0.6, 0.85, 0.95])


def test_calibration_error_by_hand() -> None:
    assert expected_calibration_error(ROWS, TARGETS) == pytest.approx((0.4 + 2 * 0.35 + 0.05) / 4)


def test_probabilities_that_are_drawn_from_have_almost_no_error() -> None:
    draw = np.random.default_rng(0)
    rows = draw.dirichlet([0.5] * 4, 20_000)
    targets = (rows.cumsum(axis=1) < draw.random((20_000, 1))).sum(axis=1).clip(0, 3)
    assert expected_calibration_error(rows, targets) < 0.015
    sharper = rows**3 / (rows**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(sharper, targets) > 0.1


@pytest.mark.parametrize("count", [FEWEST_IMAGES - 1, FEWEST_IMAGES])
def test_few_images_have_no_calibration_error(count: int) -> None:
    rows, targets = np.tile(ROWS, (50, 1))[:count], np.tile(TARGETS, 50)[:count]
    found = calibration_result(rows, targets, 1.5, 0.7, 0.6)
    assert (found.nll_before, found.nll_after, found.temperature) == (0.7, 0.6, 1.5)
    assert (found.ece is None) == (found.bins == ()) == (count < FEWEST_IMAGES)


def test_sets_hold_the_best_class_and_those_within_the_limit() -> None:
    rows = np.array([[0.9, 0.06, 0.04], [0.5, 0.4, 0.1], [0.35, 0.33, 0.32]])
    found = coverage_result(rows, np.array([1, 1, 2]), 0.9, 0.65)
    assert (found.asked, found.measured, found.sizes) == (0.9, pytest.approx(1 / 3), (2, 1))
    assert found.mean_size == pytest.approx(4 / 3)
    assert coverage_result(rows, np.array([0, 0, 0]), 0.9, 0.0).sizes == (3,)
    assert coverage_result(rows, np.array([2, 2, 2]), 0.9, 1.0).measured == 1
