"""The images that a model is evaluated on, and those that are unlike its classes: a folder, a table or a program's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.config import OnBadImage
from breedclf.data.dataset import canonical_split
from breedclf.data.given_images import GivenImages, checked_splits, kind_of, split_to_evaluate
from breedclf.data.image_folder import as_split, images_below, images_by_split, log_set_aside
from breedclf.data.images import IMAGE_SUFFIXES
from breedclf.data.labeled_images import LabeledImages, SourceImages
from breedclf.data.layout import layout_of, set_aside_line
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import some_names
from breedclf.data.split import ImageFiles, Split, SplitImages
from breedclf.data.tables.dataset import table_to_evaluate
from breedclf.data.tables.images import images_of_table
from breedclf.data.tables.places import TablePlace, place_of
from breedclf.errors import ConfigError, DataError
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.model_directory import ModelCard
from breedclf.text.printable import storable

log: logging.Logger = logging.getLogger(__name__)

ALL = "all"
_DIVISION = {"valid_share": 0.15, "test_share": 0.15, "split_seed": 0}


@dataclass(frozen=True)
class FolderOrTable:
    """Images of a folder, or of the table at `place`; `root` is where the shown paths start."""

    data: Path
    place: TablePlace | None

    @property
    def root(self) -> Path:
        return self.data if self.place is None else self.place.root

    @property
    def shown(self) -> str:
        return str(self.data)

    def images(self, split: str, card: ModelCard, on_bad_image: OnBadImage) -> Split:
        skip = on_bad_image == "skip"
        return images_to_evaluate(self.data, split, card.labels, card.training, self.place, skip_missing=skip)


@dataclass(frozen=True)
class GivenOrigin:
    """Labeled images of the program."""

    given: GivenImages
    root: Path = Path()

    @property
    def shown(self) -> str:
        return kind_of(self.given)

    def images(self, split: str, card: ModelCard, _on_bad_image: OnBadImage) -> Split:
        return split_to_evaluate(self.given, _split_name(split), card.labels, **_division_of(card.training))


@dataclass(frozen=True)
class UnlikeImages:
    """Images that are none of a model's classes; `root` is where their shown paths start."""

    images: SplitImages
    shown: str
    root: Path = Path()


def unlike_images(unlike: StrPath | LabeledImages, on_bad_image: OnBadImage) -> UnlikeImages:
    """All images of a folder, in any nesting, of a table, or of a program, whatever their labels.

    Raises:
        DataError: there are no images, or the folder or table can't be read.
    """
    if not isinstance(unlike, (str, os.PathLike)):
        if isinstance(unlike, Mapping):
            raise DataError("unlike is a mapping of splits: give the labeled images of one of them")
        checked_splits(unlike)
        return UnlikeImages(SourceImages(unlike), kind_of(unlike))
    path = Path(unlike)
    place = place_of(path, setting="unlike")
    if place is not None:
        table = images_of_table(place)
        table.require_usable(skip_missing=on_bad_image == "skip")
        return UnlikeImages(ImageFiles(tuple(Path(image.path) for image in table.images)), str(path), place.root)
    if not path.is_dir():
        raise DataError(f"unlike={path} does not exist; give a folder of images that are none of the model's classes")
    files = ImageFiles(tuple(sorted(images_below(path))))
    if not len(files):
        raise DataError(f"unlike={path} contains no images; names must end with {', '.join(sorted(IMAGE_SUFFIXES))}")
    return UnlikeImages(files, str(path), path)


def origin_of(data: StrPath | GivenImages, labels: StrPath | None) -> FolderOrTable | GivenOrigin:
    """Where the images are that a model is evaluated on.

    Raises:
        ConfigError: a path isn't valid, or labels are given for images that have some.
        DataError: a path isn't that of a folder or a table.
    """
    if not isinstance(data, (str, os.PathLike)):
        if labels is not None:
            raise ConfigError(f"labels={str(labels)!r} is a table for the images of a folder, not for labeled images")
        return GivenOrigin(data)
    folder = user_path(data, "data")
    return FolderOrTable(folder, place_of(folder, None if labels is None else user_path(labels, "labels")))


def images_to_evaluate(
    data: Path,
    split: str,
    labels: Sequence[str],
    training: Mapping[str, object],
    place: TablePlace | None = None,
    *,
    skip_missing: bool = False,
) -> Split:
    """The images of a split of a folder, or of the table at `place`, with targets by the model's labels.

    `training` are the model's training settings: a dataset without splits is divided by their shares and seed.

    Raises:
        ConfigError: there is no such split.
        DataError: the folder or the split is missing or empty, or a class with images isn't among `labels`.
    """
    name, division = _split_name(split), _division_of(training)
    if place is not None:
        return table_to_evaluate(place, name, labels, **division, skip_missing=skip_missing)
    layout = layout_of(list_folder(data), labels=labels)
    if layout.refusal:
        raise DataError(f"{data}: {layout.refusal.detail}")
    log_set_aside(data, layout)
    by_split = images_by_split(data, layout, **division)
    if not layout.divided and name != ALL:
        log.info(
            "%s has no split folders: using its %s share, divided as in training; --split all uses every image",
            data,
            name,
        )
    if name == ALL:
        by_split[ALL] = _merged(by_split.values())
    by_label = {label: paths for label, paths in by_split.get(name, {}).items() if paths}
    if not by_label:
        have = ", ".join(found for found, classes in by_split.items() if found != ALL and any(classes.values()))
        raise DataError(
            f"{data} has no images for the split {split!r}; splits with images: {have or 'none'} "
            f"(expected: SPLIT/CLASS/image.jpg){_and(set_aside_line(layout))}"
        )
    if strangers := [label for label in by_label if label not in labels]:
        raise DataError(
            f"the {name} images of {data} have classes that the model doesn't have: "
            f"{some_names(strangers)}; its classes are {some_names(labels)}{_and(layout.hint)}"
        )
    return as_split(name, labels, by_label)


def _split_name(split: str) -> str:
    """The canonical name of a split.

    Raises:
        ConfigError: there is no such split.
    """
    name = canonical_split(split)
    if name not in ("train", "valid", "test", ALL):
        raise ConfigError(f"split={split!r}: use train, valid, test or all")
    return name


def _division_of(training: Mapping[str, object]) -> dict[str, Any]:
    """The shares and the seed by which a dataset without splits was divided for training."""
    return {key: training.get(key, default) for key, default in _DIVISION.items()}


def _and(more: str) -> str:
    return f"; {more}" if more else ""


def shown_name(name: str, data: Path) -> Path:
    """The name of an image in the report: relative to the dataset, with undecodable bytes escaped."""
    path = Path(name)
    return Path(storable(str(path.relative_to(data) if path.is_relative_to(data) else path)))


def _merged(splits: Iterable[Mapping[str, Sequence[Path]]]) -> dict[str, list[Path]]:
    merged: dict[str, list[Path]] = {}
    for by_label in splits:
        for label, paths in by_label.items():
            merged.setdefault(label, []).extend(paths)
    return {label: sorted(paths) for label, paths in merged.items()}
