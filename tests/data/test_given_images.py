"""Labeled images that a program gives: checks, one set of classes over the splits, and division by shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from breedclf.data.adapters.arrays import from_arrays
from breedclf.data.adapters.torch_dataset import from_torch_dataset
from breedclf.data.given_images import split_to_evaluate, training_splits
from breedclf.data.image_folder import scan
from breedclf.data.images import ImageLike
from breedclf.data.labeled_images import LabeledImages
from breedclf.errors import ConfigError, DataError, ImageError
from tests.image_folders import write_noise

SHARES: dict[str, Any] = {"valid_share": 0.25, "test_share": 0.25, "split_seed": 0}


class Source:
    """A source whose members are given."""

    def __init__(self, labels: Any, targets: Any, length: int | None = None) -> None:
        self.labels, self.targets = labels, targets
        self.length = len(targets) if length is None else length

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> ImageLike:
        return np.full((4, 4), index, np.uint8)


def source(*labels: str, names: Sequence[str] | None = None) -> LabeledImages:
    return from_arrays(np.arange(len(labels) * 16, dtype=np.uint8).reshape(-1, 4, 4), labels, names)


def test_the_classes_are_those_of_the_training_images_in_the_order_of_the_source() -> None:
    train, valid = source("bee", "ant", "bee", names=["wasp", "bee", "ant"]), source("ant", "bee", "ant")
    labels, splits = training_splits({"training": train, "Validation": valid}, **SHARES)
    assert labels == ("bee", "ant")
    assert {name: split.targets for name, split in splits.items()} == {"train": (0, 1, 0), "valid": (1, 0, 1)}


def test_one_source_is_divided_as_its_folder_would_be(tmp_path: Path) -> None:
    folder = scan(write_noise(tmp_path / "photos", train=7, valid=1) / "train", **SHARES)
    labels, splits = training_splits(from_torch_dataset(ImageFolder(tmp_path / "photos" / "train")), **SHARES)
    assert labels == folder.labels
    for name in ("train", "valid", "test"):
        ours, theirs = splits[name], folder.splits[name]
        assert [ours.images.read(at) for at in range(len(ours))] == [
            theirs.images.read(at) for at in range(len(theirs))
        ]
        assert ours.targets == theirs.targets


def test_validation_images_are_taken_from_training_if_there_are_none() -> None:
    _, splits = training_splits({"train": source(*"abababab"), "test": source(*"ab")}, **SHARES)
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "valid": 2, "test": 2}
    assert sorted(splits["valid"].targets) == [0, 1]


def test_the_split_to_evaluate_has_the_targets_of_the_model() -> None:
    images = source(*"abababab")
    _, splits = training_splits(images, **SHARES)
    again = split_to_evaluate(images, "test", ["b", "a"], **SHARES)
    assert again.targets == tuple(1 - target for target in splits["test"].targets)
    whole = split_to_evaluate(images, "all", ["a", "b"], **SHARES)
    assert whole.targets == (0, 1) * 4


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            {"train": source(*"ab"), "valid": source(*"abc")},
            DataError,
            "the valid split has classes that train doesn't "
            "have: 'c'; add training images of them, or remove them from valid",
        ),
        ({"valid": source(*"ab")}, DataError, "no training images: there is 'valid', but no train split"),
        (
            {"train": source(*"ab"), "extra": source(*"ab")},
            ConfigError,
            "images has a split 'extra': the splits are train, valid and test",
        ),
        ({"valid": source(*"ab"), "val": source(*"ab")}, ConfigError, "images has two valid splits: 'valid', 'val'"),
        (source("a", "a", names=["a", "b"]), DataError, "only one class, 'a'; a classifier needs two or more"),
        (source("a", "b"), DataError, "no image is left for validation: give more images"),
        (Source(["a", "b"], [0, 1], length=3), DataError, "Source has 3 images and 2 targets"),
        (Source(["a", "b"], []), DataError, "Source has no images"),
        (Source(["a", "a"], [0, 1]), DataError, "Source: class names appear more than once: 'a'"),
        (Source(["a", ""], [0, 1]), DataError, "Source: class name 1 is empty"),
        (Source([0, 1], [0, 1]), DataError, "Source: class name 0 is 0: class names are text"),
        (Source(["a", "b"], [0, 2]), DataError, "Source: the label of image 1 is 2, but there are 2 classes"),
        (Source(["a", "b"], [0, -1]), DataError, "Source: the label of image 1 is -1: classes are numbered from 0"),
        (Source(["a", "b"], [0, True]), DataError, "Source: the label of image 1 is True: labels are either"),
        (Source(["a", "b"], [0, 0.5]), DataError, "Source: the label of image 1 is 0.5: labels are either"),
        (
            [1, 2],
            DataError,
            "list isn't a source of labeled images: it needs labels, targets, read(index) and __len__, "
            "and has no 'labels', 'targets', 'read'; see from_arrays",
        ),
    ],
    ids=[
        "valid-only",
        "no-train",
        "unknown",
        "twice",
        "one-class",
        "few",
        "targets",
        "none",
        "duplicate",
        "empty-name",
        "no-text",
        "range",
        "negative",
        "bool",
        "float",
        "no-source",
    ],
)
def test_what_can_not_be_trained_on_is_refused(
    images: LabeledImages | Mapping[str, LabeledImages], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        training_splits(images, **SHARES)
    assert message in str(caught.value)


def test_integers_of_any_kind_are_targets() -> None:
    _, splits = training_splits({"train": Source(["a", "b"], np.array([0, 1, 1])), "valid": source("a")}, **SHARES)
    assert splits["train"].targets == (0, 1, 1)


def test_a_source_that_loses_images_keeps_its_length_and_says_so() -> None:
    given = Source(["a", "b"], [0, 1] * 4)
    _, splits = training_splits({"train": given, "valid": source(*"ab")}, **SHARES)
    given.length, given.read = 5, lambda index: [np.zeros((4, 4), np.uint8)][index // 5]  # type: ignore[method-assign]
    assert len(splits["train"]) == len(splits["train"].images) == 8
    with pytest.raises(ImageError, match="image 7 can't be read from Source: it has only 5 images now"):
        splits["train"].images.read(7)
