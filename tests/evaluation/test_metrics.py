"""The figures of an evaluation, against values worked out by hand and against what must always hold."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from breedclf.errors import DataError
from breedclf.evaluation.metrics import Evaluation, measure
from breedclf.evaluation.result import NORMAL_95, wilson_interval

LABELS = ["001.ant", "002.bee", "003.cat"]
ROWS = np.array(
    [
        [0.7, 0.2, 0.1],  # ant, named ant
        [0.1, 0.8, 0.1],  # ant, named bee
        [0.2, 0.5, 0.3],  # bee, named bee
        [0.05, 0.9, 0.05],  # bee, named bee
        [0.6, 0.3, 0.1],  # bee, named ant
    ]
)
TARGETS = np.array([0, 0, 1, 1, 1])
PATHS = [f"{number}.jpg" for number in range(5)]


@pytest.fixture(scope="module")
def result() -> Evaluation:
    return measure(ROWS, TARGETS, LABELS, PATHS, class_names=["ant", "bee", "cat"], split="test")


def test_headline_figures(result: Evaluation) -> None:
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.count == 5
    assert result.top5_accuracy == 1  # of three classes all are among the first five
    assert result.loss == pytest.approx(-sum(map(math.log, (0.7, 0.1, 0.5, 0.9, 0.3))) / 5)
    assert result.majority_share == pytest.approx(3 / 5)


def test_per_class_figures(result: Evaluation) -> None:
    ant, bee, cat = result.per_class
    assert (ant.label, ant.class_name, ant.support, ant.predicted) == ("001.ant", "ant", 2, 2)
    assert (ant.precision, ant.recall, ant.f1) == (0.5, 0.5, 0.5)
    assert (bee.precision, bee.recall, bee.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (cat.support, cat.precision, cat.recall, cat.f1) == (0, None, None, None)


def test_macro_average_leaves_out_a_class_without_images(result: Evaluation) -> None:
    assert result.macro_average.recall == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result.macro_average.precision == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_class_never_named_counts_as_zero_precision() -> None:
    only_ants = measure(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), ["ant", "bee"], ["a", "b"])
    assert only_ants.per_class[1].precision is None
    assert only_ants.per_class[1].f1 == 0
    assert only_ants.macro_average.precision == pytest.approx(0.25)


def test_confusion_and_most_confused(result: Evaluation) -> None:
    assert result.confusion == ((1, 1, 0), (1, 2, 0), (0, 0, 0))
    assert [(pair.true, pair.predicted, pair.count) for pair in result.most_confused] == [
        ("001.ant", "002.bee", 1),  # half of the ants
        ("002.bee", "001.ant", 1),  # a third of the bees
    ]
    assert result.most_confused[1].share == pytest.approx(1 / 3)


def test_worst_images_are_the_wrong_ones_surest_first(result: Evaluation) -> None:
    assert [(one.path, one.true, one.predicted) for one in result.worst] == [
        ("1.jpg", "001.ant", "002.bee"),
        ("4.jpg", "002.bee", "001.ant"),
    ]
    assert (result.worst[0].probability, result.worst[0].true_probability) == (0.8, 0.1)
    assert len(measure(ROWS, TARGETS, LABELS, PATHS, worst=1).worst) == 1


def test_confidence_steps(result: Evaluation) -> None:
    step = {step.min_confidence: step for step in result.confidence}
    assert (step[0.7].answered, step[0.7].accuracy) == (pytest.approx(3 / 5), pytest.approx(2 / 3))
    assert (step[0.99].answered, step[0.99].accuracy) == (0, None)


def test_top5_of_many_classes_breaks_ties_by_order() -> None:
    rows = np.full((2, 8), 1 / 8)
    labels = [str(number) for number in range(8)]
    assert measure(rows, np.array([4, 5]), labels, ["a", "b"]).top5_accuracy == 0.5


def test_json_has_the_promised_names(result: Evaluation) -> None:
    document = json.loads(result.model_dump_json())
    assert document["accuracy_interval"] == pytest.approx(list(wilson_interval(3, 5)))
    assert {"accuracy", "accuracy_interval", "top5_accuracy", "loss", "count", "per_class"} <= set(document)
    assert set(document["per_class"][0]) >= {"label", "class_name", "precision", "recall", "f1", "support"}
    assert Evaluation.model_validate(document) == result


def test_no_image_is_refused() -> None:
    with pytest.raises(DataError, match="no images to evaluate"):
        measure(np.empty((0, 2)), np.empty(0, dtype=int), ["a", "b"], [])


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        (np.ones((2, 3)), [0, 1], "don't fit"),
        (np.ones((2, 2)) / 2, [0, 2], "isn't from 0 to 1"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), [0, 1], "not a finite number"),
    ],
)
def test_what_does_not_fit_is_refused(rows: npt.NDArray[np.float64], targets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(rows, np.array(targets), ["a", "b"], ["x", "y"])


def test_certain_and_wrong_has_a_finite_loss() -> None:
    assert 600 < measure(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"], ["x"]).loss < 700


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(47, 50, 0.83783, 0.97939), (0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (1, 2, 0.09453, 0.90547),
     (7, 8, 0.52911, 0.97758)],
)  # fmt: skip
def test_wilson_known_values(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == (pytest.approx(low, abs=2e-5), pytest.approx(high, abs=2e-5))


@given(st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilson_holds_the_proportion_and_mirrors(case: tuple[int, int]) -> None:
    right, count = case
    low, high = wilson_interval(right, count)
    assert 0 <= low <= right / count <= high <= 1
    assert low < high
    mirrored = wilson_interval(count - right, count)
    assert (1 - high, 1 - low) == (pytest.approx(mirrored[0], abs=1e-9), pytest.approx(mirrored[1], abs=1e-9))


@given(st.integers(1, 10**4).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilson_bounds_solve_the_equation_that_defines_them(case: tuple[int, int]) -> None:
    right, count = case
    for bound in wilson_interval(right, count):
        distance = NORMAL_95 * math.sqrt(max(0, bound * (1 - bound)) / count)
        assert abs(right / count - bound) == pytest.approx(distance, abs=1e-7)


@given(st.integers(1, 1000), st.integers(2, 100))
def test_wilson_narrows_with_more_images(count: int, factor: int) -> None:
    few, many = wilson_interval(count // 2, count), wilson_interval(factor * (count // 2), factor * count)
    assert many[1] - many[0] < few[1] - few[0]


@pytest.mark.parametrize(("right", "count"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(right: int, count: int) -> None:
    with pytest.raises(ValueError, match="is not a proportion"):
        wilson_interval(right, count)


@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9), elements=st.floats(0.001, 1)
    ),
    st.data(),
)
def test_figures_agree_with_each_other(scores: npt.NDArray[np.float64], data: st.DataObject) -> None:
    rows = scores / scores.sum(axis=1, keepdims=True)
    count, classes = rows.shape
    targets = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    result = measure(rows, targets, [str(i) for i in range(classes)], [str(i) for i in range(count)])

    matrix = np.array(result.confusion)
    assert matrix.sum() == result.count == count
    assert np.trace(matrix) / count == pytest.approx(result.accuracy)
    assert result.accuracy <= result.top5_accuracy <= 1
    assert result.top5_accuracy == 1 or classes > 5
    assert result.loss >= 0
    assert sum(one.support for one in result.per_class) == sum(one.predicted for one in result.per_class) == count
    weighted = sum((one.recall or 0) * one.support for one in result.per_class) / count
    assert weighted == pytest.approx(result.accuracy)
    assert sum(pair.count for pair in result.most_confused) <= count - np.trace(matrix)
    answered = [step.answered for step in result.confidence]
    assert answered == sorted(answered, reverse=True)
