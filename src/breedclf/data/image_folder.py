"""Scan an image folder: its classes, and the images of each split."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from breedclf.data.dataset import Dataset
from breedclf.data.division import divided_by_class
from breedclf.data.layout import UNDIVIDED, Layout, Part, everything_below, layout_of, set_aside_line
from breedclf.data.layout.disk import list_folder
from breedclf.data.split import ImageFiles, Split
from breedclf.errors import DataError
from breedclf.files.paths import StrPath

log: logging.Logger = logging.getLogger(__name__)


def scan(root: StrPath, *, valid_share: float = 0.15, test_share: float = 0.15, split_seed: int = 0) -> Dataset:
    """Find the images below `root` and assign them to splits.

    `root` holds either a folder per split, each with a folder per class, or the class folders themselves, which are
    then split class by class. If there is no validation split, `valid_share` of the training images becomes one.

    Args:
        root: the dataset folder.
        valid_share: share of the training images used for validation, if there is no such split; 0 to 1.
        test_share: share of the images used for testing, if there are no split folders; 0 to 1.
        split_seed: seed of the random division.

    Raises:
        DataError: the folder is missing or holds no images, its layout is ambiguous, it has fewer than two classes,
            or a class of another split has no training images.
    """
    root = Path(root)
    listing = list_folder(root)
    layout = layout_of(listing)
    if refusal := layout.training_refusal():
        raise DataError(f"{root}: {refusal.detail}")
    log_set_aside(root, layout)
    images = images_by_split(root, layout, valid_share=valid_share, test_share=test_share, split_seed=split_seed)
    labels = layout.classes
    splits = {name: as_split(name, labels, by_label) for name, by_label in images.items()}
    return Dataset(root, labels, splits)


def log_set_aside(root: Path, layout: Layout) -> None:
    """Log what isn't read, in one line; as a warning if the user's own images are among it."""
    if line := set_aside_line(layout):
        log.log(logging.WARNING if layout.loses_images else logging.INFO, "%s: %s", root, line)
    if layout.doubt:
        log.warning("%s: %s", root, layout.doubt)


def images_by_split(
    root: Path, layout: Layout, *, valid_share: float, test_share: float, split_seed: int
) -> dict[str, dict[str, list[Path]]]:
    """The images of each split by class folder; splits that the layout doesn't provide are divided off."""
    images = {split: _images_by_label(root, layout, split) for split in layout.splits}
    if not layout.divided:
        return divided_by_class(images[UNDIVIDED], {"valid": valid_share, "test": test_share}, split_seed)
    if "train" in images and "valid" not in images:
        images |= divided_by_class(images["train"], {"valid": valid_share}, split_seed)
    return images


def _images_by_label(root: Path, layout: Layout, split: str) -> dict[str, list[Path]]:
    by_label = {label: _images_of(root, parts) for label, parts in layout.parts[split].items()}
    return {label: images for label, images in by_label.items() if images}


def _images_of(root: Path, parts: Sequence[Part]) -> list[Path]:
    """The images of a class, sorted by the components of their paths."""
    folders = {part.path: root / part.path for part in parts}
    named = [(part.path, name) for part in parts for name in part.folder.images]
    if len(parts) > 1:
        named.sort(key=lambda image: [*image[0].split("/"), image[1]])
    return [folders[path] / name for path, name in named]


def images_below(folder: Path) -> Iterator[Path]:
    """The image files in a folder at any depth, chosen as in a class folder; symbolic links are followed."""
    for part in everything_below(list_folder(folder)):
        yield from (folder / part.path / name for name in part.folder.images)


def as_split(name: str, labels: Sequence[str], by_label: Mapping[str, Sequence[Path]]) -> Split:
    """Make a split of the images of these labels, in their order; other classes are left out."""
    pairs = [(path, index) for index, label in enumerate(labels) for path in by_label.get(label, ())]
    return Split(name, ImageFiles(tuple(path for path, _ in pairs)), tuple(index for _, index in pairs))
