"""Arrange the contents of published archives as `SPLIT/CLASS/image`."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from breedclf.errors import DataError

SPLIT_FOLDERS = ("train", "valid", "test")
_LISTS = {"train": "trainval.txt", "test": "test.txt"}
_IMAGE_NAME = re.compile(r"(?P<label>[A-Za-z][\w-]*)_\d+", re.ASCII)
_SHOWN = 5


@dataclass(frozen=True)
class Arranged:
    """The number of images by split, the number of classes, and listed images that are missing in the archives."""

    splits: dict[str, int]
    classes: int
    missing: list[str]


def arrange_lists(unpacked: Path, into: Path) -> Arranged:
    """Arrange the layout of Oxford-IIIT Pet: all images in `images/`, and a list for each split in `annotations/`.

    A line of a list starts with the name of an image, which is its class and a number: `great_pyrenees_42 16 2 11`. The
    published lists are for training (with validation) and test; training divides off its validation share itself.

    Raises:
        DataError: a list is missing or has another format, or none of the listed images exists.
    """
    splits: Counter[str] = Counter()
    labels: set[str] = set()
    missing: list[str] = []
    for split, file in _LISTS.items():
        for name, label in _listed(unpacked / "annotations" / file):
            image = unpacked / "images" / f"{name}.jpg"
            if not image.is_file():
                missing.append(f"{name}.jpg")
                continue
            folder = into / split / label
            folder.mkdir(parents=True, exist_ok=True)
            image.replace(folder / image.name)
            splits[split] += 1
            labels.add(label)
    if not splits:
        raise DataError(f"none of the {len(missing)} listed images is in the archive, such as {missing[:_SHOWN]}")
    return Arranged(dict(splits), len(labels), missing)


def arrange_splits(unpacked: Path, into: Path) -> Arranged:
    """Arrange the layout of dogImages: `train/`, `valid/` and `test/` with class folders, in one outer folder.

    Raises:
        DataError: no folder contains train/.
    """
    folders = [unpacked, *sorted(path for path in unpacked.iterdir() if path.is_dir())]
    outer = next((folder for folder in folders if (folder / "train").is_dir()), None)
    if outer is None:
        found = ", ".join(sorted(path.name for path in unpacked.iterdir())) or "nothing"
        raise DataError(f"unexpected layout of the archive: no train/ folder, but {found}")
    into.mkdir(parents=True, exist_ok=True)
    splits, labels = {}, set()
    for split in SPLIT_FOLDERS:
        if (outer / split).is_dir():
            (outer / split).replace(into / split)
            labels |= {path.name for path in (into / split).iterdir() if path.is_dir()}
            splits[split] = sum(len(files) for _, _, files in os.walk(into / split))
    return Arranged(splits, len(labels), [])


def _listed(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"unexpected layout of the archive: {file.parent.name}/{file.name} can't be read") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name = line.split()[0]
        match = _IMAGE_NAME.fullmatch(name)
        if match is None:
            raise DataError(f"{file.name}, line {number}: {name!r} is not an image name like 'great_pyrenees_42'")
        found.append((name, match["label"]))
    return found
