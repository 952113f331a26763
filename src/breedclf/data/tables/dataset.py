"""The dataset of a table: its classes, and the images of each split in the order of the rows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from breedclf.data.dataset import Dataset
from breedclf.data.division import divided_by_group, divided_positions
from breedclf.data.layout.names import some_names
from breedclf.data.split import ImageFiles, Split
from breedclf.data.tables.images import TableImage, TableImages, images_of_table
from breedclf.data.tables.places import TablePlace
from breedclf.errors import DataError

log: logging.Logger = logging.getLogger(__name__)

ImagesBySplit = Mapping[str, Sequence[TableImage]]


def scan_table(
    place: TablePlace, *, valid_share: float, test_share: float, split_seed: int, skip_missing: bool = False
) -> Dataset:
    """The dataset of a table; images without a split are divided by share and seed, as those of a folder.

    With `skip_missing` a file that doesn't exist counts as an unreadable image; otherwise it is an error.

    Raises:
        DataError: the table can't be used, it has fewer than two classes, or a class has no training images.
    """
    table = images_of_table(place)
    table.require_usable(skip_missing=skip_missing)
    by_split = images_by_split(table, valid_share=valid_share, test_share=test_share, split_seed=split_seed)
    labels = training_labels(table, by_split)
    return Dataset(place.file, labels, {name: _split(name, images, labels) for name, images in by_split.items()})


def table_to_evaluate(
    place: TablePlace,
    split: str,
    labels: Sequence[str],
    *,
    valid_share: float,
    test_share: float,
    split_seed: int,
    skip_missing: bool = False,
) -> Split:
    """The images of a split, or of all for `all`, with targets by a model's labels.

    Raises:
        DataError: the table can't be used, has no images of the split, or has a class that isn't among `labels`.
    """
    table = images_of_table(place)
    table.require_usable(skip_missing=skip_missing)
    if split == "all":
        images = table.images
    else:
        by_split = images_by_split(table, valid_share=valid_share, test_share=test_share, split_seed=split_seed)
        images = by_split.get(split, ())
        if not images:
            have = ", ".join(name for name, found in by_split.items() if found)
            raise DataError(f"{place.file} has no images for the split {split!r}; splits with images: {have or 'none'}")
        if not table.has_splits:
            log.info(
                "%s has no column split: using its %s share, divided as in training; --split all uses every image",
                place.file,
                split,
            )
    known = set(labels)
    if strangers := sorted({image.label for image in images} - known):
        raise DataError(
            f"the {split} images of {place.file} have classes that the model doesn't have: {some_names(strangers)}; "
            f"its classes are {some_names(labels)}"
        )
    return _split(split, images, labels)


def images_by_split(
    table: TableImages, *, valid_share: float, test_share: float, split_seed: int
) -> dict[str, list[TableImage]]:
    """The images of each split, in the order of the rows; splits that the table doesn't have are divided off.

    Raises:
        DataError: groups are too large to be divided.
    """
    if not table.has_splits:
        return _divided(table, table.images, {"valid": valid_share, "test": test_share}, split_seed)
    by_split: dict[str, list[TableImage]] = {"train": []}
    for image in table.images:
        by_split.setdefault(image.split, []).append(image)
    _warn_of_shared_groups(table)
    if by_split["train"] and "valid" not in by_split:
        by_split |= _divided(table, by_split["train"], {"valid": valid_share}, split_seed)
    return by_split


def training_labels(table: TableImages, by_split: ImagesBySplit) -> tuple[str, ...]:
    """The classes: the labels of the training images, sorted.

    Raises:
        DataError: there are fewer than two, or a class of another split has no training images.
    """
    file = table.place.file
    labels = sorted({image.label for image in by_split["train"]})
    if not labels:
        raise DataError(f"{file} has no training images: its splits are {', '.join(by_split.keys() - {'train'})}")
    if len(labels) < 2:
        raise DataError(f"{file} has only one class, {labels[0]!r}; a classifier needs two or more")
    for name, images in by_split.items():
        if strange := [image for image in images if image.label not in labels]:
            raise DataError(
                f"{file}: the {name} split has classes that train doesn't have: "
                f"{some_names(sorted({image.label for image in strange}))} ({table.lines(strange)}); add training "
                f"images of them, or remove them from {name}"
            )
    return tuple(labels)


def shared_groups(table: TableImages) -> list[tuple[str, list[TableImage]]]:
    """The groups whose images are in several splits of the table, with their images."""
    groups: dict[str, list[TableImage]] = defaultdict(list)
    for image in table.images:
        if image.group:
            groups[image.group].append(image)
    return [(group, images) for group, images in groups.items() if len({image.split for image in images}) > 1]


def _divided(
    table: TableImages, images: Sequence[TableImage], shares: Mapping[str, float], seed: int
) -> dict[str, list[TableImage]]:
    if any(image.group for image in images):
        parts: dict[str, list[TableImage]] = {name: [] for name in ("train", *shares)}
        _warn_of_single_groups(table, images)
        names = divided_by_group([image.label for image in images], [image.group for image in images], shares, seed)
        for image, name in zip(images, names, strict=True):
            parts[name].append(image)
        return parts
    positions = divided_positions((image.label for image in images), shares, seed)
    return {name: [images[at] for at in found] for name, found in positions.items()}


def _warn_of_single_groups(table: TableImages, images: Sequence[TableImage]) -> None:
    groups_of: dict[str, set[str]] = defaultdict(set)
    for at, image in enumerate(images):
        groups_of[image.label].add(image.group or f"\0{at}")
    if single := sorted(label for label, groups in groups_of.items() if len(groups) == 1):
        log.warning(
            "%s: all images of %s are in one group, which stays in training, so these classes aren't evaluated",
            table.place.file,
            some_names(single),
        )


def _warn_of_shared_groups(table: TableImages) -> None:
    if shared := shared_groups(table):
        group, images = shared[0]
        log.warning(
            "%s: %d groups have images in several splits, such as %r (%s): the measured accuracy may be too high",
            table.place.file,
            len(shared),
            group,
            table.lines(images),
        )


def _split(name_of_split: str, images: Sequence[TableImage], labels: Sequence[str]) -> Split:
    number = {label: at for at, label in enumerate(labels)}
    folders: dict[str, Path] = {}
    paths = []
    for image in images:  # a Path made from that of its folder takes a third of the time
        folder, separator, name = image.path.rpartition("/")
        if (parent := folders.get(folder)) is None:
            parent = folders[folder] = Path(folder + separator)
        paths.append(parent / name)
    return Split(name_of_split, ImageFiles(tuple(paths)), tuple(number[image.label] for image in images))
