"""What an examination of a folder of pictures says: its problems, and the facts of the whole."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal[
    "unclear_layout",
    "name_not_utf8",
    "no_pictures",
    "one_class",
    "class_missing_in_train",
    "no_validation",
    "unreadable",
    "truncated",
    "damaged",
    "too_large",
    "blank",
    "broken_profile",
    "empty_class",
    "class_missing_in_split",
    "duplicate_across_splits",
    "duplicate_across_classes",
    "duplicate",
    "mislabelled_type",
    "tiny",
    "imbalance",
    "case_conflict",
    "overlooked",
    "stray_picture",
    "ignored_folder",
    "not_a_file",
    "broken_link",
    "link_loop",
]
"""The kinds of problems, the worst first."""


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class Problem(_Frozen):
    """One thing that is wrong: with which file or class folder (as it is named below the examined folder), and why."""

    kind: Kind
    path: str
    detail: str


class Range(_Frozen):
    """Smallest, middle and largest of some whole numbers."""

    smallest: int
    median: int
    largest: int


class DatasetCheck(_Frozen):
    """The outcome of an examination.

    `splits` counts the pictures of each split ("all" where the folder isn't divided), `classes` those of each class in
    each split. `formats`, `modes` (Pillow's names) and `orientations` (of EXIF; 1 is upright) count the readable ones,
    whose pixels and bytes `width_px`, `height_px` and `file_bytes` range over; `converted` of them have colors far from
    sRGB. `remembered` of the `pictures` were known from an earlier examination.
    """

    folder: str
    problems: list[Problem]
    notes: list[str]
    splits: dict[str, int]
    classes: dict[str, dict[str, int]]
    pictures: int
    readable: int
    remembered: int
    formats: dict[str, int]
    modes: dict[str, int]
    orientations: dict[str, int]
    animated: int
    converted: int
    width_px: Range | None
    height_px: Range | None
    file_bytes: Range | None
    seconds: float

    @property
    def clean(self) -> bool:
        return not self.problems
