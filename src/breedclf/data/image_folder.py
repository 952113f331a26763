"""Scan an image folder: its classes, and the images of each split."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.layout import UNDIVIDED, Layout, Part, everything_below, layout_of, set_aside_line
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import ranked_split
from breedclf.data.split import ImageFiles, Split
from breedclf.errors import DataError

log: logging.Logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(?P<number>\d+|n\d{8})(?P<separator>[._-]+\s*)(?P<name>[^\W\d_].*)", re.DOTALL)


@dataclass(frozen=True)
class ImageFolder:
    """A dataset of class folders; `labels` are the names, sorted, of the class folders that hold training images."""

    root: Path
    labels: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels as they are shown to people."""
        return display_names(self.labels)

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
            DataError: the folder has no such split, or the split has no images.
        """
        canonical = canonical_split(name)
        if not self.splits.get(canonical):
            have = ", ".join(found for found, split in self.splits.items() if len(split)) or "none"
            raise DataError(f"{self.root} has no {name!r} split with images; splits with images: {have}")
        return self.splits[canonical]


def canonical_split(name: str) -> str:
    """The canonical name of a split: `val` and `Validation` become `valid`; an unknown name is returned unchanged."""
    ranked = ranked_split(name)
    return name if ranked is None else "valid" if ranked.split == "eval" else ranked.split


def scan(root: str | Path, *, valid_share: float = 0.15, test_share: float = 0.15, split_seed: int = 0) -> ImageFolder:
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
    return ImageFolder(root, labels, splits)


def training_images(config: TrainingConfig) -> ImageFolder:
    """The dataset that these settings describe, including its test split.

    Raises:
        DataError: as `scan`.
    """
    return scan(config.data, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed)


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
        return _divide(images[UNDIVIDED], {"valid": valid_share, "test": test_share}, split_seed)
    if "train" in images and "valid" not in images:
        images |= _divide(images["train"], {"valid": valid_share}, split_seed)
    return images


def display_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Class names to show to people: `001.Boston_terrier` becomes `Boston terrier` if all labels are numbered.

    Numbers that don't form a common numbering are kept, and so are those that distinguish two labels.
    """
    shown = [(name or label).replace("_", " ").strip() or label for name, label in _without_numbers(labels)]
    return tuple(name if shown.count(name) == 1 else label for name, label in zip(shown, labels, strict=True))


def _without_numbers(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a label without its number and the label; unchanged unless all labels share one numbering."""
    found = [_NUMBERED.fullmatch(label) for label in labels]
    numbered = [match for match in found if match]
    unchanged = [(label, label) for label in labels]
    if len(numbered) < len(labels) or not labels or len({match["separator"] for match in numbered}) > 1:
        return unchanged
    prefixes, rest = [match["number"] for match in numbered], [match["name"] for match in numbered]
    if len(set(prefixes)) < len(labels) or len(set(rest)) < len(labels) or not _is_numbering(numbered):
        return unchanged
    return list(zip(rest, labels, strict=True))


def _is_numbering(numbered: Sequence[re.Match[str]]) -> bool:
    """Whether the numbers are WordNet identifiers, list items (`7.`), zero-padded, or count up from 0 or 1."""
    numbers = [match["number"] for match in numbered]
    wordnet = [number.startswith("n") for number in numbers]
    if any(wordnet):
        return all(wordnet)
    if numbered[0]["separator"].strip() == "." or (numbers[0].startswith("0") and len(set(map(len, numbers))) == 1):
        return True
    counted = sorted(map(int, numbers))
    return counted[0] in (0, 1) and counted == list(range(counted[0], counted[0] + len(counted)))


def _images_by_label(root: Path, layout: Layout, split: str) -> dict[str, list[Path]]:
    by_label = {label: _images_of(root, parts) for label, parts in layout.parts[split].items()}
    return {label: images for label, images in by_label.items() if images}


def _images_of(root: Path, parts: Sequence[Part]) -> list[Path]:
    """The images of a class, sorted by the components of their paths."""
    named = [([*part.path.split("/"), name], part, name) for part in parts for name in part.folder.images]
    if len(parts) > 1:
        named.sort(key=itemgetter(0))
    folders = {part: root / part.path for part in parts}
    return [folders[part] / name for _, part, name in named]


def images_below(folder: Path) -> Iterator[Path]:
    """The image files in a folder at any depth, chosen as in a class folder; symbolic links are followed."""
    for part in everything_below(list_folder(folder)):
        yield from (folder / part.path / name for name in part.folder.images)


def _divide(
    by_label: Mapping[str, Sequence[Path]], shares: Mapping[str, float], seed: int
) -> dict[str, dict[str, list[Path]]]:
    """Move a share of every class to each further split: at least one image, if enough are left for training."""
    parts: dict[str, dict[str, list[Path]]] = {name: {} for name in ("train", *shares)}
    for label, paths in by_label.items():
        left = list(paths)
        random.Random(f"{seed}/{label}").shuffle(left)
        for name, share in shares.items():
            share_size = max(1, round(share * len(paths))) if share else 0
            train_minimum = 2 if len(paths) > 2 else 1
            take = max(0, min(share_size, len(left) - train_minimum))
            parts[name][label], left = sorted(left[:take]), left[take:]
        parts["train"][label] = sorted(left)
    return parts


def as_split(name: str, labels: Sequence[str], by_label: Mapping[str, Sequence[Path]]) -> Split:
    """Make a split of the images of these labels, in their order; other classes are left out."""
    pairs = [(path, index) for index, label in enumerate(labels) for path in by_label.get(label, ())]
    return Split(name, ImageFiles(tuple(path for path, _ in pairs)), tuple(index for _, index in pairs))
