"""A dataset: the classes, and the images of each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from breedclf.data.class_names import display_names
from breedclf.data.layout.names import ranked_split
from breedclf.data.split import Split
from breedclf.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """A dataset: its classes and splits.

    `root` is its folder or table. `labels` are the names, sorted, of the classes that have training images.
    """

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
