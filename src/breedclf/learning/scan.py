"""From a folder on disk to lists of pictures: which classes there are, and which picture belongs to which split."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.errors import DataError
from breedclf.learning.images import PICTURE_SUFFIXES

SPLIT_FOLDERS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
_MAX_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """The pictures of one split, in a fixed order.

    `paths[i]` shows the class `targets[i]`, an index into the folder's labels.
    """

    name: str
    paths: tuple[Path, ...]
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures in classes; `labels` are the class folders' names, sorted."""

    root: Path
    labels: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def class_names(self) -> tuple[str, ...]:
        return display_names(self.labels)

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
            DataError: the folder has no such split, or no picture in it.
        """
        canonical = canonical_split(name)
        if not self.splits.get(canonical):
            have = ", ".join(found for found, split in self.splits.items() if len(split)) or "none"
            raise DataError(f"{self.root} has no {name!r} split with pictures; splits with pictures: {have}")
        return self.splits[canonical]


def canonical_split(name: str) -> str:
    """`val` and `validation` are `valid`; any other name is itself."""
    return next((split for split, folders in SPLIT_FOLDERS.items() if name in folders), name)


def scan(
    root: str | Path, *, valid_share: float = 0.15, test_share: float = 0.15, split_seed: int = 0
) -> PictureFolder:
    """Find the pictures below `root`.

    Either `root` holds `train/` and further splits (`valid/`, `val/` or `validation/`; `test/`), each with one folder a
    class, or it holds the class folders themselves and is split by class with a seed. A training folder without a
    validation split gives up `valid_share` of its pictures for one.

    Raises:
        DataError: the folder is missing or holds no pictures, has fewer than two classes, or a class of another split
            is absent from training.
    """
    root = Path(root)
    pictures = pictures_by_split(root, valid_share=valid_share, test_share=test_share, split_seed=split_seed)
    labels = tuple(sorted(pictures["train"]))
    _check_classes(root, labels, pictures)
    splits = {name: as_split(name, labels, by_label) for name, by_label in pictures.items()}
    return PictureFolder(root, labels, splits)


def training_pictures(config: TrainingConfig) -> PictureFolder:
    """The pictures that a training with these settings is about, its test split among them.

    Raises:
        DataError: as `scan`.
    """
    return scan(config.data, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed)


def pictures_by_split(
    root: Path, *, valid_share: float, test_share: float, split_seed: int, wanted: str = "train"
) -> dict[str, dict[str, list[Path]]]:
    """Each split's pictures by class folder, unchecked; without a folder of `wanted` or train, `root` is divided.

    Raises:
        DataError: the folder is missing or can't be read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data folder {root} {what}; give a folder with train/, valid/ and test/, or with class folders"
        )
    found = {name: folder for name, names in SPLIT_FOLDERS.items() if (folder := _first_folder(root, names))}
    if "train" in found or wanted in found:
        pictures = {name: _pictures_by_label(folder) for name, folder in found.items()}
        if "train" in pictures and "valid" not in pictures:
            pictures |= _divide(pictures["train"], {"valid": valid_share}, split_seed)
        return pictures
    return _divide(_pictures_by_label(root), {"valid": valid_share, "test": test_share}, split_seed)


def display_names(labels: Sequence[str]) -> tuple[str, ...]:
    """What a person is shown: `001.Boston_terrier` becomes `Boston terrier`, unless two labels would read alike."""
    shown = [re.sub(r"^(\d+[._-]+|n\d{8}[._-])(?=.)", "", label).replace("_", " ").strip() or label for label in labels]
    return tuple(name if shown.count(name) == 1 else label for name, label in zip(shown, labels, strict=True))


def _first_folder(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _pictures_by_label(folder: Path) -> dict[str, list[Path]]:
    try:
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"data folder {folder} can't be read: {error.strerror}") from error
    return {entry.name: sorted(pictures_below(entry)) for entry in classes if not leads_back(entry)}


def leads_back(folder: Path) -> bool:
    """Whether a symbolic link leads to a folder that it lies in: followed, it would make a class of everything."""
    if not folder.is_symlink():
        return False
    parent = folder.parent.resolve()
    return folder.resolve() in (parent, *parent.parents)


def pictures_below(folder: Path) -> Iterator[Path]:
    """Regular files with a picture's suffix; symbolic links are followed, each folder once and none that lies above."""
    parent = folder.parent.resolve()
    seen = {str(above) for above in (parent, *parent.parents)}
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(here) / name
            if path.suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _divide(
    by_label: Mapping[str, Sequence[Path]], shares: Mapping[str, float], seed: int
) -> dict[str, dict[str, list[Path]]]:
    """Give each further split its share of every class, at least one picture while two are left to train on."""
    parts: dict[str, dict[str, list[Path]]] = {name: {} for name in ("train", *shares)}
    for label, paths in by_label.items():
        left = list(paths)
        random.Random(f"{seed}/{label}").shuffle(left)
        for name, share in shares.items():
            wanted = max(1, round(share * len(paths))) if share else 0
            kept_back = 2 if len(paths) > 2 else 1
            take = max(0, min(wanted, len(left) - kept_back))
            parts[name][label], left = sorted(left[:take]), left[take:]
        parts["train"][label] = sorted(left)
    return parts


def _check_classes(root: Path, labels: Sequence[str], pictures: Mapping[str, Mapping[str, Sequence[Path]]]) -> None:
    if not any(pictures["train"].values()):
        suffixes = " ".join(sorted(PICTURE_SUFFIXES))
        raise DataError(f"no pictures to train on below {root}: put them in one folder a class ({suffixes})")
    if sum(map(bool, pictures["train"].values())) < 2:
        only = next(label for label, paths in pictures["train"].items() if paths)
        raise DataError(f"{root} has pictures of one class only, {only!r}; a classifier needs two or more")
    for name, by_label in pictures.items():
        strangers = [label for label, paths in by_label.items() if paths and label not in labels]
        if strangers:
            raise DataError(
                f"the {name} split of {root} has classes that train lacks: {some_names(strangers)}; "
                f"add training pictures of them or take them out of {name}"
            )


def as_split(name: str, labels: Sequence[str], by_label: Mapping[str, Sequence[Path]]) -> Split:
    """The pictures in the order of `labels`; those of other classes are left out."""
    pairs = [(path, index) for index, label in enumerate(labels) for path in by_label.get(label, ())]
    return Split(name, tuple(path for path, _ in pairs), tuple(index for _, index in pairs))


def some_names(names: Sequence[str]) -> str:
    """The first few names in quotes, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else ""
    return ", ".join(repr(name) for name in names[:_MAX_NAMES_SHOWN]) + more
