"""Write a new image folder of links, with the moves of a review applied; the reviewed folder is only read."""

from __future__ import annotations

import logging
import os
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from breedclf.data.layout.names import some_names
from breedclf.data.write_folder import check_labels, complete_folder
from breedclf.errors import ConfigError, DataError
from breedclf.files.disk import writing
from breedclf.label_review.images import ReviewedImages
from breedclf.label_review.moves import Move, check_moves
from breedclf.text.printable import storable

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """An image and where it goes: its split, its class, and a name that no other image there has."""

    source: Path
    split: str
    label: str
    name: str

    @property
    def path(self) -> PurePosixPath:
        """Relative to the new folder."""
        return PurePosixPath(self.split, self.label, self.name)


def apply_moves(images: ReviewedImages, moves: Sequence[Move], target: Path) -> Path:
    """Write `target/SPLIT/CLASS/NAME`, a symbolic link for each image (else a hard link, else a copy).

    Images are in the split that training assigns them to, also where the reviewed folder has no splits. The folder
    appears when it is complete.

    Raises:
        ConfigError: the folder contains something or is inside the reviewed one, or the images aren't files.
        DataError: a move can't be applied, or a class has no training images left.
        DiskError: the disk refuses.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"folder={str(target)!r} exists already and isn't an empty folder: choose another one")
    root = images.root
    if root is None:
        raise ConfigError(
            "moves are applied to image folders and tables, not to images of a program: relabel them there"
        )
    if root.is_dir() and target.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"folder={str(target)!r} is in the reviewed folder {str(root)!r}: choose one outside it")
    placed = placed_images(images, moves)
    check_labels({each.label for each in placed})
    with writing(target), complete_folder(target) as temporary:
        for each in placed:
            path = temporary / each.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(each.source, path)
    return target


def placed_images(images: ReviewedImages, moves: Sequence[Move]) -> list[Placed]:
    """Where each image goes; names that differ only in case or in how accents are encoded get a number.

    Raises:
        DataError: a move can't be applied, or a class has no training images left.
    """
    given = [images.labels[target] for target in images.split.targets]
    paths = [storable(images.path(row)) for row in range(len(given))]
    labels = {storable(label): label for label in images.labels}
    check_moves(moves, dict(zip(paths, map(storable, given), strict=True)), list(labels))
    chosen = {move.path: move for move in moves}
    taken: dict[tuple[str, str], set[str]] = defaultdict(set)
    placed = []
    for row, path in enumerate(paths):
        move = chosen.get(path)
        if move is not None and move.action == "drop":
            continue
        label = labels[move.to] if move is not None and move.action == "move" else given[row]
        source = images.split.images.file_or_digest(row)
        if not isinstance(source, Path):
            raise ConfigError(f"{path} is no file, so there is nothing to link")
        split = images.split_names[row]
        placed.append(Placed(source.resolve(), split, label, _free_name(source, taken[split, label])))
    _check_classes(placed, images.labels)
    return placed


def _free_name(source: Path, taken: set[str]) -> str:
    name, number = source.name, 1
    while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
        number += 1
        name = f"{source.stem}-{number}{source.suffix}"
    taken.add(key)
    return name


def _check_classes(placed: Sequence[Placed], labels: Sequence[str]) -> None:
    trained = {each.label for each in placed if each.split == "train"}
    if untrained := sorted({each.label for each in placed} - trained):
        raise DataError(
            f"moves: no training image of {some_names(untrained)} would be left: keep some, or drop all images"
        )
    if len(trained) < 2:
        raise DataError("moves: fewer than two classes would be left: keep images of two classes at least")
    if gone := sorted(set(labels) - trained):
        log.warning("no images of %s are left, so the new folder doesn't have that class", some_names(gone))


def _link(source: Path, path: Path) -> None:
    for link in (os.symlink, os.link):
        try:
            link(source, path)
        except (OSError, NotImplementedError):
            continue
        return
    shutil.copy2(source, path)
