"""From a folder on disk to lists of pictures: which classes there are, and which picture belongs to which split."""

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
from breedclf.errors import DataError

log = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(?P<number>\d+|n\d{8})(?P<separator>[._-]+\s*)(?P<name>[^\W\d_].*)", re.DOTALL)


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
class ImageFolder:
    """A folder of pictures in classes; `labels` are the names, sorted, of the class folders with a training picture."""

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
    """`val`, `Validation` and the like are `valid`; a name that is no split's is itself."""
    ranked = ranked_split(name)
    return name if ranked is None else "valid" if ranked.split == "eval" else ranked.split


def scan(root: str | Path, *, valid_share: float = 0.15, test_share: float = 0.15, split_seed: int = 0) -> ImageFolder:
    """Find the pictures below `root`.

    Either `root` holds a folder for each split, each with one folder a class, or it holds the class folders themselves
    and is split by class with a seed. A training folder without a validation split gives up `valid_share` of its
    pictures for one.

    Raises:
        DataError: the folder is missing or holds no pictures, can be read in more than one way, has fewer than two
            classes, or a class of another split is absent from training.
    """
    root = Path(root)
    listing = list_folder(root)
    layout = layout_of(listing)
    if refusal := layout.training_refusal():
        raise DataError(f"{root}: {refusal.detail}")
    tell(root, layout)
    pictures = images_by_split(root, layout, valid_share=valid_share, test_share=test_share, split_seed=split_seed)
    labels = layout.classes
    splits = {name: as_split(name, labels, by_label) for name, by_label in pictures.items()}
    return ImageFolder(root, labels, splits)


def training_images(config: TrainingConfig) -> ImageFolder:
    """The pictures that a training with these settings is about, its test split among them.

    Raises:
        DataError: as `scan`.
    """
    return scan(config.data, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed)


def tell(root: Path, layout: Layout) -> None:
    """Log in one line what isn't read, as a warning where it might be missed."""
    if line := set_aside_line(layout):
        log.log(logging.WARNING if layout.loses_images else logging.INFO, "%s: %s", root, line)
    if layout.doubt:
        log.warning("%s: %s", root, layout.doubt)


def images_by_split(
    root: Path, layout: Layout, *, valid_share: float, test_share: float, split_seed: int
) -> dict[str, dict[str, list[Path]]]:
    """Each split's pictures by class folder; what the layout leaves undivided is divided."""
    pictures = {split: _images_by_label(root, layout, split) for split in layout.splits}
    if not layout.divided:
        return _divide(pictures[UNDIVIDED], {"valid": valid_share, "test": test_share}, split_seed)
    if "train" in pictures and "valid" not in pictures:
        pictures |= _divide(pictures["train"], {"valid": valid_share}, split_seed)
    return pictures


def display_names(labels: Sequence[str]) -> tuple[str, ...]:
    """What a person is shown: `001.Boston_terrier` becomes `Boston terrier` where all labels are numbered so.

    A number that isn't part of one numbering means something and stays, and so does one that tells two labels apart.
    """
    shown = [(name or label).replace("_", " ").strip() or label for name, label in _without_numbers(labels)]
    return tuple(name if shown.count(name) == 1 else label for name, label in zip(shown, labels, strict=True))


def _without_numbers(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Each label without its number, if all have one of one numbering, and the label."""
    found = [_NUMBERED.fullmatch(label) for label in labels]
    numbered = [match for match in found if match]
    as_they_are = [(label, label) for label in labels]
    if len(numbered) < len(labels) or not labels or len({match["separator"] for match in numbered}) > 1:
        return as_they_are
    prefixes, rest = [match["number"] for match in numbered], [match["name"] for match in numbered]
    if len(set(prefixes)) < len(labels) or len(set(rest)) < len(labels) or not _is_numbering(numbered):
        return as_they_are
    return list(zip(rest, labels, strict=True))


def _is_numbering(numbered: Sequence[re.Match[str]]) -> bool:
    """Whether they are identifiers of WordNet, list items (`7.`), padded with zeros, or count from 0 or 1."""
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
    """Sorted as paths are, by their components."""
    named = [([*part.path.split("/"), name], part, name) for part in parts for name in part.folder.images]
    if len(parts) > 1:
        named.sort(key=itemgetter(0))
    folders = {part: root / part.path for part in parts}
    return [folders[part] / name for _, part, name in named]


def images_below(folder: Path) -> Iterator[Path]:
    """Regular files with a picture's suffix at any depth, as a class folder's; symbolic links are followed."""
    for part in everything_below(list_folder(folder)):
        yield from (folder / part.path / name for name in part.folder.images)


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


def as_split(name: str, labels: Sequence[str], by_label: Mapping[str, Sequence[Path]]) -> Split:
    """The pictures in the order of `labels`; those of other classes are left out."""
    pairs = [(path, index) for index, label in enumerate(labels) for path in by_label.get(label, ())]
    return Split(name, tuple(path for path, _ in pairs), tuple(index for _, index in pairs))
