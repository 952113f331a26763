"""Which columns of a table are path, label, split and group, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from breedclf.data.layout.names import some_names
from breedclf.errors import DataError

SPELLINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "path": (
        ("path",),
        (
            "file",
            "file_name",
            "filename",
            "file_path",
            "filepath",
            "image",
            "image_name",
            "image_path",
            "image_file",
            "img",
            "img_path",
        ),
        ("id", "image_id", "img_id"),
    ),
    "label": (
        ("label",),
        ("labels", "class", "class_name", "category", "breed", "species", "target", "label_name"),
    ),
    "split": (("split",), ("set", "subset", "partition")),
    "group": (("group",), ("group_id", "groups")),
}
"""Names of columns in lower case, in ranks: a later rank is read only if the table has none of the ranks before it."""


class Columns(NamedTuple):
    """The positions of the columns; `unread` are the names of the others."""

    path: int
    label: int
    split: int | None
    group: int | None
    unread: tuple[str, ...] = ()

    @classmethod
    def may_be(cls, names: Sequence[str]) -> bool:
        """Whether these names have one for the path and one for the label."""
        return all(any(_positions(names, rank) for rank in SPELLINGS[role]) for role in ("path", "label"))

    @classmethod
    def of(cls, path: int, label: int, split: int | None, group: int | None, names: Sequence[str]) -> Self:
        """The columns at these positions among all names."""
        used = {path, label, split, group}
        return cls(path, label, split, group, tuple(name for at, name in enumerate(names) if at not in used))


def columns_of(names: Sequence[str], table: str) -> Columns:
    """Find the columns by their names; case, blanks and hyphens don't count.

    Raises:
        DataError: there is no column for the path or the label, or more than one.

    Example:
        >>> columns_of(["id", "Breed"], "labels.csv")[:2]
        (0, 1)
    """
    found = {role: _column(names, role, table) for role in SPELLINGS}
    path, label = found["path"], found["label"]
    if path is None or label is None:
        lacking = " and ".join(role for role in ("path", "label") if found[role] is None)
        raise DataError(
            f"{table} has no column for the {lacking}: its first line has "
            f"{some_names([name.strip() for name in names])}; start it with a header line such as "
            f"path,label (or file, image, id for path; class, category, species for label)"
        )
    return Columns.of(path, label, found["split"], found["group"], names)


def _column(names: Sequence[str], role: str, table: str) -> int | None:
    for rank in SPELLINGS[role]:
        positions = _positions(names, rank)
        if len(positions) > 1:
            raise DataError(
                f"{table} has {len(positions)} columns that may be the {role}: "
                f"{some_names([names[at] for at in positions])}; rename the correct one to {role!r}, or the others"
            )
        if positions:
            return positions[0]
    return None


def _positions(names: Sequence[str], rank: Sequence[str]) -> list[int]:
    return [at for at, name in enumerate(names) if re.sub(r"[\s\-]+", "_", name.strip().casefold()) in rank]
