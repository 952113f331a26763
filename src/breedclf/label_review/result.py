"""The result of a review: suspects, near duplicates, outliers, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.label_review.images import ReviewedImages

RANKS = (5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Neighbor:
    """One of the images most like another, with its given class and the cosine similarity, from -1 to 1."""

    path: str
    class_name: str
    similarity: float
    row: int = field(repr=False, default=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"path": self.path, "class": self.class_name, "similarity": self.similarity}


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong.

    Args:
        path: relative to the image folder.
        split: train, valid or test.
        given: the label that it has.
        proposed: the most probable other one.
        probability_wrong: from 0 to 1, that the given label is wrong.
        confidence: the probability, from 0 to 1, of the given label by a head trained on the other images.
        neighbours: the three most similar images.
    """

    path: str
    split: str
    given: str
    proposed: str
    probability_wrong: float
    confidence: float
    neighbours: Sequence[Neighbor]
    row: int = field(repr=False, default=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = {name: value for name, value in vars(self).items() if name != "row"}
        return {**values, "neighbours": [each.to_dict() for each in self.neighbours]}


@dataclass(frozen=True)
class NearDuplicates:
    """Images that are probably one photo: the same file, or one re-encoded, resized, mirrored or cropped.

    `similarity` is the lowest one that joins them, `across_splits` whether they are in different splits.
    """

    paths: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str]
    similarity: float
    across_splits: bool
    rows: Sequence[int] = field(repr=False, default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "paths": list(self.paths),
            "splits": list(self.splits),
            "labels": list(self.labels),
            "similarity": self.similarity,
            "across_splits": self.across_splits,
        }


@dataclass(frozen=True)
class Outlier:
    """An image far from all others: `distance` is 1 minus the similarity to the fifth nearest one.

    `class_distance` is the same among the images of its class; None if it has no others.
    """

    path: str
    split: str
    given: str
    distance: float
    class_distance: float | None
    row: int = field(repr=False, default=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: value for name, value in vars(self).items() if name != "row"}


@dataclass(frozen=True)
class TwinEffect:
    """The accuracy on all test images, and on those without a near duplicate among training and validation images.

    `count` and `correct` are of all, `apart` and `apart_correct` of the others.
    """

    count: int
    correct: int
    apart: int
    apart_correct: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "count": self.count,
            "accuracy": self.correct / self.count,
            "count_without_twins": self.apart,
            "accuracy_without_twins": self.apart_correct / self.apart if self.apart else None,
        }


@dataclass(frozen=True)
class Review:
    """What a review found.

    Args:
        suspects: the most suspicious first; empty if the review of labels is refused.
        near_duplicates: those across splits first, then by similarity.
        outliers: the farthest first.
        refused: why no suspects are listed; None if they are.
        accuracy: the share of images, from 0 to 1, whose given class is predicted by a head trained on the others.
        error_rate: the estimated share of wrong labels; None if the review of labels is refused.
        expected_precision: the expected share of the listed suspects whose label is wrong; None without suspects.
        precision_at: the same of the first 5, 10, 20, ... suspects.
        near_duplicates_from: the similarity from which images are near duplicates.
        twin_effect: of near duplicates on the test accuracy; None without test images that have one.
        count: how many images were compared.
        not_judged: images whose class has no other image, or only near duplicates.
        skipped: the reasons of unreadable images.
        images: what was reviewed.
    """

    suspects: Sequence[Suspect]
    near_duplicates: Sequence[NearDuplicates]
    outliers: Sequence[Outlier]
    refused: str | None
    accuracy: float
    error_rate: float | None
    expected_precision: float | None
    precision_at: dict[int, float]
    near_duplicates_from: float
    twin_effect: TwinEffect | None
    count: int
    not_judged: int
    skipped: Sequence[str]
    images: ReviewedImages = field(repr=False)

    @property
    def clean(self) -> bool:
        """Whether there are neither suspects, near duplicates nor outliers."""
        return not (self.suspects or self.near_duplicates or self.outliers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "suspects": [each.to_dict() for each in self.suspects],
            "near_duplicates": [each.to_dict() for each in self.near_duplicates],
            "outliers": [each.to_dict() for each in self.outliers],
            "expected_precision": self.expected_precision,
            "precision_at": {str(first): share for first, share in self.precision_at.items()},
            "error_rate": self.error_rate,
            "accuracy": self.accuracy,
            "refused": self.refused,
            "near_duplicates_from": self.near_duplicates_from,
            "twin_effect": None if self.twin_effect is None else self.twin_effect.to_dict(),
            "count": self.count,
            "not_judged": self.not_judged,
            "skipped": list(self.skipped),
            "features": {"computed": self.images.counts.computed, "reused": self.images.counts.reused},
        }

    def report(self, path: StrPath) -> None:
        """Write the HTML report.

        Raises:
            DiskError: the disk refuses.
        """
        from breedclf.label_review.page import review_page

        write_output(user_path(path, "report"), review_page(self), "make room, or choose another --output")

    def moves(self, path: StrPath) -> None:
        """Write `moves.csv`, which `apply` reads and you may edit: a row for each suspect and each near duplicate.

        Raises:
            DiskError: the disk refuses.
        """
        from breedclf.label_review.moves import moves_of, moves_text

        write_output(user_path(path, "moves"), moves_text(moves_of(self)), "make room, or choose another --output")

    def apply(self, folder: StrPath, moves: StrPath | None = None) -> Path:
        """Write a new folder of links to the images, with moves applied; the reviewed folder stays as it is.

        Args:
            folder: a new or empty folder.
            moves: an edited `moves.csv`; None moves each suspect that is more likely wrong than right.

        Raises:
            ConfigError: the folder contains something, or the images are no image folder.
            DataError: a row of the moves can't be applied.
        """
        from breedclf.label_review.apply import apply_moves
        from breedclf.label_review.moves import moves_of, read_moves

        chosen = moves_of(self) if moves is None else read_moves(user_path(moves, "moves"))
        return apply_moves(self.images, chosen, user_path(folder, "folder"))
