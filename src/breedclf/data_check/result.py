"""The result of a dataset check: its problems, and counts over the whole folder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from breedclf.data.tables.problems import FATAL_ROWS

Kind = Literal[
    "unclear_layout",
    "name_not_utf8",
    "no_pictures",
    "one_class",
    "class_missing_in_train",
    "no_validation",
    "no_path",
    "not_a_path",
    "ambiguous_path",
    "no_label",
    "odd_label",
    "no_split",
    "unknown_split",
    "two_labels",
    "two_splits",
    "two_groups",
    "missing_file",
    "unreadable",
    "truncated",
    "damaged",
    "too_large",
    "blank",
    "broken_profile",
    "empty_class",
    "class_missing_in_split",
    "shared_group",
    "duplicate_across_splits",
    "duplicate_across_classes",
    "duplicate",
    "repeated_row",
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
"""The kinds of problems, most severe first."""


_JSON_KEYS = {"images": "pictures", "cached": "remembered"}
"""JSON keys that scripts rely on, where they differ from the field's name."""

FATAL: frozenset[Kind] = frozenset(
    {
        "unclear_layout",
        "name_not_utf8",
        "no_pictures",
        "one_class",
        "class_missing_in_train",
        "no_validation",
        *FATAL_ROWS,
    }
)
"""Problems that stop every training run; of rows, all that tables don't only warn of."""

FATAL_UNLESS_SKIPPED: frozenset[Kind] = frozenset({"missing_file", "unreadable", "truncated", "too_large"})
"""Problems of single images that stop a training run unless it skips unreadable images."""


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class Problem(_Frozen):
    """One problem; `path` is the file or class folder below the checked folder, `detail` says what is wrong."""

    kind: Kind
    path: str
    detail: str


class Range(_Frozen):
    """Minimum, median and maximum of a set of integers."""

    smallest: int
    median: int
    largest: int


class DatasetCheck(_Frozen):
    """What `data check` found.

    `splits` counts the images of each split ("all" if the folder has no split folders), `classes` the images of each
    class in each split. Of the `images`, `readable` can be decoded, and the results of `cached` come from an earlier
    check. The remaining fields describe the readable images: `formats`, `modes` (Pillow's names), EXIF `orientations`
    (1 is upright), how many are `animated`, how many are `converted` because their colors are far from sRGB, and the
    ranges of their sizes.
    """

    folder: str
    problems: list[Problem]
    notes: list[str]
    splits: dict[str, int]
    classes: dict[str, dict[str, int]]
    images: int
    readable: int
    cached: int
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
        """Whether no problem was found."""
        return not self.problems

    def to_dict(self) -> dict[str, object]:
        """The result as JSON values, by the keys of `breedclf data check --json`."""
        return {_JSON_KEYS.get(name, name): value for name, value in self.model_dump(mode="json").items()}
