"""Labeled images that a program gives, alone or by split: checked, divided as a folder would be, and with one set of
classes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from breedclf.data.adapters.class_labels import checked_names, checked_targets
from breedclf.data.dataset import canonical_split
from breedclf.data.division import divided_positions
from breedclf.data.labeled_images import LabeledImages, SourceImages
from breedclf.data.layout import UNDIVIDED
from breedclf.data.layout.names import some_names
from breedclf.data.split import Split
from breedclf.errors import ConfigError, DataError

log: logging.Logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")

GivenImages = LabeledImages | Mapping[str, LabeledImages]
"""Labeled images to be divided by shares, or those of each split."""


@dataclass(frozen=True)
class CheckedImages:
    """Labeled images whose classes and targets are known to fit together; `targets` index into `labels`."""

    source: LabeledImages
    labels: tuple[str, ...]
    targets: tuple[int, ...]

    def split(self, name: str, labels: Sequence[str], indices: Sequence[int]) -> Split:
        """The images at `indices` as a split, with targets that index into `labels`."""
        at = {label: position for position, label in enumerate(labels)}
        to_position = [at.get(label, -1) for label in self.labels]
        targets = tuple(to_position[target] for target in self.targets)
        return Split(name, SourceImages(self.source), targets).chosen(indices)


def checked_splits(images: GivenImages) -> dict[str, CheckedImages]:
    """The images of each split under its usual name, or all of them under UNDIVIDED.

    Raises:
        ConfigError: a split has an unknown name, or a name of another one.
        DataError: something isn't labeled images, has no images, or has labels and targets that don't fit together.
    """
    if not isinstance(images, Mapping):
        return {UNDIVIDED: _checked(images, "")}
    found: dict[str, CheckedImages] = {}
    for name, source in images.items():
        split = canonical_split(str(name))
        if split not in SPLITS:
            raise ConfigError(f"images has a split {str(name)!r}: the splits are train, valid and test")
        if split in found:
            raise ConfigError(f"images has two {split} splits: {some_names([str(each) for each in images])}")
        found[split] = _checked(source, f"{name}: ")
    return found


class PartOf(NamedTuple):
    """The images of a split: those of a source at `indices`, in their order."""

    whole: CheckedImages
    indices: Sequence[int]

    @property
    def used(self) -> set[str]:
        """The labels that have images."""
        return {self.whole.labels[self.whole.targets[index]] for index in self.indices}


def parts_of(images: GivenImages, *, valid_share: float, test_share: float, split_seed: int) -> dict[str, PartOf]:
    """The images of each split. A single source is divided class by class, as a folder without splits is.

    If there is no valid split, a share of the training images becomes one.

    Raises:
        ConfigError: a split has an unknown name.
        DataError: the images can't be used.
    """
    given = checked_splits(images)
    parts = {name: PartOf(each, range(len(each.targets))) for name, each in given.items()}
    if UNDIVIDED in parts:
        return _divided(parts[UNDIVIDED].whole, {"valid": valid_share, "test": test_share}, split_seed)
    if "train" in parts and "valid" not in parts:
        parts |= _divided(parts["train"].whole, {"valid": valid_share}, split_seed)
    return parts


def training_splits(images: GivenImages, **division: Any) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The labels that training learns, in the order of the training images' labels, and the splits.

    Args:
        images: the images.
        division: as for `parts_of`.

    Raises:
        ConfigError: a split has an unknown name.
        DataError: there are no training images or less than two classes, a class has none in training, or none is left
            for validation.
    """
    parts = parts_of(images, **division)
    if "train" not in parts:
        raise DataError(f"no training images: there is {some_names(sorted(parts))}, but no train split")
    used = parts["train"].used
    labels = tuple(label for label in parts["train"].whole.labels if label in used)
    if len(labels) < 2:
        raise DataError(f"only one class, {labels[0]!r}; a classifier needs two or more")
    for name, part in parts.items():
        if strangers := sorted(part.used - used):
            raise DataError(
                f"the {name} split has classes that train doesn't have: {some_names(strangers)}; add training images "
                f"of them, or remove them from {name}"
            )
    if not parts["valid"].indices:
        raise DataError("no image is left for validation: give more images, or images={'train': ..., 'valid': ...}")
    return labels, {name: part.whole.split(name, labels, part.indices) for name, part in parts.items()}


def split_to_evaluate(images: GivenImages, name: str, labels: Sequence[str], **division: Any) -> Split:
    """The images of a split, or every image of a single source for `all`, with targets by a model's labels.

    Args:
        images: the images.
        name: train, valid, test or all.
        labels: those of the model.
        division: as for `parts_of`.

    Raises:
        ConfigError: a split has an unknown name.
        DataError: the split has no images, or has a class that isn't among `labels`.
    """
    if name == UNDIVIDED:
        whole = checked_splits(images).get(UNDIVIDED)
        parts = {} if whole is None else {UNDIVIDED: PartOf(whole, range(len(whole.targets)))}
    else:
        parts = parts_of(images, **division)
        if not isinstance(images, Mapping):
            log.info("using the %s share of the images, divided as in training; split='all' uses every image", name)
    if name not in parts or not parts[name].indices:
        have = list(images) if isinstance(images, Mapping) else [each for each, part in parts.items() if part.indices]
        raise DataError(f"there are no images for the split {name!r}; splits with images: {some_names(have)}")
    if strangers := sorted(parts[name].used - set(labels)):
        raise DataError(
            f"the {name} images have classes that the model doesn't have: {some_names(strangers)}; its classes are "
            f"{some_names(labels)}"
        )
    return parts[name].whole.split(name, tuple(labels), parts[name].indices)


def _divided(whole: CheckedImages, shares: Mapping[str, float], seed: int) -> dict[str, PartOf]:
    positions = divided_positions((whole.labels[target] for target in whole.targets), shares, seed)
    return {name: PartOf(whole, indices) for name, indices in positions.items()}


def kind_of(images: GivenImages) -> str:
    """The names of the classes of the given objects, for records: `ImagesInMemory`, for example."""
    sources = images.values() if isinstance(images, Mapping) else [images]
    return ", ".join(dict.fromkeys(type(source).__name__ for source in sources))


def _checked(source: object, where: str) -> CheckedImages:
    """Labeled images, after checks that don't read an image.

    Raises:
        DataError: a member is missing, labels and targets don't fit together, or there are no images.
    """
    missing = [name for name in ("labels", "targets", "read", "__len__") if not hasattr(source, name)]
    if missing or not callable(getattr(source, "read", None)):
        raise DataError(
            f"{where}{type(source).__name__} isn't a source of labeled images: it needs labels, targets, read(index) "
            f"and __len__, and has no {some_names(missing) if missing else 'method read'}; see from_arrays, "
            "from_hugging_face and from_torch_dataset"
        )
    assert isinstance(source, LabeledImages)
    try:
        labels = checked_names(source.labels)
        targets = checked_targets(source.targets, len(labels))
    except DataError as error:
        raise DataError(f"{where}{type(source).__name__}: {error}") from error
    if len(targets) != len(source):
        raise DataError(
            f"{where}{type(source).__name__} has {len(source)} images and {len(targets)} targets: there must be one "
            "for each image"
        )
    if not targets:
        raise DataError(f"{where}{type(source).__name__} has no images")
    return CheckedImages(source, labels, targets)
