"""Class labels as people have them: names, Python's, NumPy's and torch's integers, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from breedclf.data.adapters.class_labels import checked_names, class_labels
from breedclf.errors import DataError

NAMES = ["ant", "bee"]


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 1],
        np.array([1, 0, 1], np.uint8),
        torch.tensor([1, 0, 1]),
        [np.int64(1), np.int16(0), torch.tensor(1)],
        ["bee", "ant", "bee"],
        np.array(["bee", "ant", "bee"]),
    ],
    ids=["int", "numpy", "torch", "mixed-integers", "names", "numpy-names"],
)
def test_integers_of_any_package_and_names_mean_the_same(labels: object) -> None:
    assert class_labels(labels, NAMES) == (("ant", "bee"), (1, 0, 1))  # type: ignore[arg-type]


def test_names_alone_are_sorted_and_numbers_alone_name_themselves() -> None:
    assert class_labels(["b", "a"]) == (("a", "b"), (1, 0))
    assert class_labels([10, 2, 10]) == (("2", "10"), (1, 0, 1))


def test_given_names_keep_their_order_even_if_a_class_has_no_image() -> None:
    assert class_labels(["z"], ["z", "a"]) == (("z", "a"), (0,))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1], "the label of image 1 is -1: classes are numbered from 0; leave out images without a label"),
        ([0, 2], "the label of image 1 is 2, but there are 2 classes, numbered from 0 to 1"),
        ([True, False], "the label of image 0 is True: labels are either all names or all integers from 0 up"),
        ([0, 1.0], "the label of image 1 is 1.0: labels are either"),
        ([0, float("nan")], "the label of image 1 is nan: labels are either"),
        ([0, None], "the label of image 1 is None: labels are either"),
        (["ant", 1], "the label of image 0 is 'ant': labels are either"),
        (np.array([True, False]), "the label of image 0 is True"),
        ([torch.tensor(True)], "the label of image 0 is tensor(True)"),
        (torch.tensor([0.0]), "the label of image 0 is 0.0"),
        (np.eye(2), "labels of shape [2, 2]: give one label per image (of one-hot labels"),
        (["wasp"], "images are labeled 'wasp', which isn't among the class names: 'ant', 'bee'"),
    ],
    ids=[
        "negative",
        "range",
        "bool",
        "float",
        "nan",
        "none",
        "mixed",
        "np-bool",
        "torch-bool",
        "torch-float",
        "one-hot",
        "unknown",
    ],
)
def test_a_label_that_is_no_class_is_refused_with_its_position(labels: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        class_labels(labels, NAMES)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ant", "ant"], "class names appear more than once: 'ant'"),
        (["ant", " "], "class name 1 is empty: give every class a name"),
        ([0, 1], "class name 0 is 0: class names are text"),
        ("ant", "class names must be a list of text, not 'ant'"),
    ],
    ids=["duplicated", "empty", "number", "text"],
)
def test_bad_class_names_are_refused(names: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        checked_names(names)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_an_empty_name_among_the_labels_is_refused() -> None:
    with pytest.raises(DataError, match="class name 0 is empty"):
        class_labels(["", "bee"])
