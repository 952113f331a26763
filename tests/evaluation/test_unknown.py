"""Metrics of "none of these": known values, what must always hold, and the reasons of refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from breedclf.evaluation.unknown import CURVE_POINTS, EXAMPLES, auroc, curve, refused, unlike

DISTANCES = np.array([0.1, 0.4, 0.2, 0.5], np.float32)
ROWS = np.array([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.2, 0.8]])
NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
LABELS = ["ant", "bee"]
SOME = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 2, width=16))


def test_refusals_are_counted_by_reason_and_the_farthest_come_first() -> None:
    found = refused(DISTANCES, ROWS, 0.3, 0.7, LABELS, NAMES)
    assert (found.count, found.by_distance, found.by_confidence, found.by_both) == (3, 2, 2, 1)
    assert [(one.path, one.predicted) for one in found.farthest] == [
        ("d.jpg", "bee"),
        ("b.jpg", "ant"),
        ("c.jpg", "bee"),
    ]
    alone = refused(DISTANCES, ROWS, 0.3, None, LABELS, NAMES)
    assert (alone.count, alone.by_confidence) == (2, 0)


def test_a_distance_at_the_threshold_is_known() -> None:
    assert refused(DISTANCES, ROWS, float(DISTANCES[3]), None, LABELS, NAMES).count == 0
    assert refused(DISTANCES, ROWS, float(np.nextafter(DISTANCES[3], np.float32(0))), None, LABELS, NAMES).count == 1


def test_unlike_images_that_get_a_class_are_let_through() -> None:
    found = unlike(np.array([0.1, 0.2]), DISTANCES, ROWS, 0.4, 0.5, LABELS, NAMES, shared=1, skipped=["e.jpg"])
    assert (found.count, found.let_through, found.shared, found.skipped) == (4, 0.5, 1, ("e.jpg",))
    # 0.4 is above the threshold once both are float64: as predictions compare them
    assert [one.path for one in found.nearest] == ["a.jpg", "c.jpg"]
    stricter = unlike(np.array([0.1, 0.2]), DISTANCES, ROWS, 0.4, 0.7, LABELS, NAMES)
    assert [one.path for one in stricter.nearest] == ["a.jpg"]


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 1], [1, 1], 0.5),
        ([1, 3], [2], 0.5),
        ([1, 2, 3], [2, 5], 0.75),
    ],
)
def test_auroc_by_hand(inside: list[float], outside: list[float], expected: float) -> None:
    assert auroc(np.array(inside, float), np.array(outside, float)) == pytest.approx(expected)


@given(SOME, SOME)
def test_auroc_is_the_share_of_pairs_in_order(inside: np.ndarray, outside: np.ndarray) -> None:
    pairs = outside[:, None] - inside[None, :]
    assert auroc(inside, outside) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


@given(SOME, SOME, st.floats(0, 2))
def test_the_curve_rises_to_everything_and_has_the_models_threshold(
    inside: np.ndarray, outside: np.ndarray, threshold: float
) -> None:
    points = curve(inside, outside, threshold, points=10)
    assert len(points) <= 10
    assert threshold in [point.threshold for point in points]
    for shares in ([point.kept for point in points], [point.let_through for point in points]):
        assert shares == sorted(shares)
        assert shares[-1] == 1
    at = next(point for point in points if point.threshold == threshold)
    assert at.kept == pytest.approx((inside.astype(float) <= threshold).mean())


def test_many_images_have_bounded_results() -> None:
    draw = np.random.default_rng(0)
    far, rows = draw.random(10_000).astype(np.float32) + 1, draw.dirichlet([1, 1], 10_000)
    names = [str(number) for number in range(10_000)]
    found = unlike(far - 1, far, rows, 1.5, None, LABELS, names)
    assert len(found.curve) == CURVE_POINTS
    assert len(found.nearest) == len(refused(far, rows, 0.1, None, LABELS, names).farthest) == EXAMPLES
