"""The images of a table: each row checked, each file found; problems are reported with the rows' line numbers."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from breedclf.data.layout.names import SPELLINGS as SPLIT_SPELLINGS
from breedclf.data.layout.names import ranked_split, some_names
from breedclf.data.tables.cells import Cells, read_text_table
from breedclf.data.tables.files import Finder
from breedclf.data.tables.parquet import read_parquet_table
from breedclf.data.tables.places import TablePlace
from breedclf.errors import DataError

log: logging.Logger = logging.getLogger(__name__)

_SHOWN = 3


class TableImage(NamedTuple):
    """One row: the line that it starts at, the path as the table has it, the file, and what the row says about it.

    `split` is train, valid, test, or empty if the table has no splits; `group` is empty without one.
    """

    line: int
    given: str
    path: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class TableImages:
    """The images of a table, in the order of its rows; `missing` are those whose file doesn't exist."""

    place: TablePlace
    images: Sequence[TableImage]
    unit: str
    missing: Sequence[TableImage] = ()
    case_conflicts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = field(default=())

    @property
    def has_splits(self) -> bool:
        """Whether the table assigns images to splits."""
        return bool(self.images) and bool(self.images[0].split)

    def lines(self, images: Sequence[TableImage]) -> str:
        """The first lines of some images, for messages.

        Example:
            >>> table = TableImages(TablePlace(Path("images.csv"), Path(".")), [], "line")
            >>> table.lines([TableImage(line, "a.jpg", "a.jpg", "cat") for line in (2, 5, 7, 9)])
            'lines 2, 5, 7, ...'
        """
        return _lines([image.line for image in images], self.unit)


def images_of_table(place: TablePlace) -> TableImages:
    """Read a table and find its files; a row that is there twice counts once, and a warning says so.

    Raises:
        DataError: the table can't be read, or rows have no label, contradict each other or name what isn't a file.
        MissingExtraError: it is a Parquet table and pyarrow isn't installed.
    """
    cells = read_parquet_table(place.file) if place.is_parquet else read_text_table(place.file)
    columns = cells.columns
    stripped = [
        [
            row[at].strip() if at is not None else ""
            for at in (columns.path, columns.label, columns.split, columns.group)
        ]
        for row in cells.rows
    ]
    kept = [at for at, row in enumerate(stripped) if any(row)]
    lines = [cells.lines[at] for at in kept]
    rows = [stripped[at] for at in kept]
    table = str(place.file)
    if not rows:
        raise DataError(f"{table} has a header, but no rows below it")
    _check_values(rows, lines, table, cells.unit)
    splits = _splits(rows, lines, table, cells.unit)
    found, missing = _found(place, rows, lines, splits, cells)
    images, duplicates = _once(found, table, cells.unit)
    notes = list(duplicates)
    if columns.unread:
        log.info("%s: columns that aren't read: %s", table, some_names(columns.unread))
    conflicts = _case_conflicts(images)
    for first, other in conflicts:
        notes.append(f"the labels {first!r} and {other!r} differ only in upper and lower case and are two classes")
    for note in notes:
        log.warning("%s: %s", table, note)
    gone = set(map(id, missing))
    return TableImages(place, images, cells.unit, [each for each in images if id(each) in gone], conflicts, notes)


def _check_values(rows: Sequence[Sequence[str]], lines: Sequence[int], table: str, unit: str) -> None:
    for at, name in enumerate(("path", "label")):
        if empty := [line for row, line in zip(rows, lines, strict=True) if not row[at]]:
            raise DataError(
                f"{table}: {len(empty):,} rows have no {name} ({_lines(empty, unit)}); fill it in, or remove them"
            )
    if odd := [(line, row[1]) for row, line in zip(rows, lines, strict=True) if not row[1].isprintable()]:
        line, label = odd[0]
        raise DataError(
            f"{table}: {len(odd):,} labels contain a line break or another control character, such as {label[:40]!r} "
            f"({_lines([line], unit)}); is a quotation mark missing?"
        )


def _splits(rows: Sequence[Sequence[str]], lines: Sequence[int], table: str, unit: str) -> list[str]:
    """The split of each row by its usual name; empty for all rows if none has one."""
    values = Counter(row[2] for row in rows)
    if set(values) == {""}:
        return [""] * len(rows)
    if values[""]:
        without = [line for row, line in zip(rows, lines, strict=True) if not row[2]]
        raise DataError(
            f"{table}: {values['']:,} rows have no split, but others do ({_lines(without, unit)}); fill it in, remove "
            "the rows, or remove the column to divide all images at random"
        )
    named = {value: ranked_split(value) for value in values}
    if unknown := [value for value, ranked in named.items() if ranked is None]:
        accepted = ", ".join(spelling for spellings in SPLIT_SPELLINGS.values() for spelling in spellings)
        raise DataError(f"{table}: the split {some_names(unknown)} is unknown; accepted are {accepted}, in any case")
    known = {value: ranked.split for value, ranked in named.items() if ranked is not None}
    evaluated = "test" if "valid" in known.values() and "test" not in known.values() else "valid"
    known = {value: evaluated if split == "eval" else split for value, split in known.items()}
    return [known[row[2]] for row in rows]


def _found(
    place: TablePlace, rows: Sequence[Sequence[str]], lines: Sequence[int], splits: Sequence[str], cells: Cells
) -> tuple[list[TableImage], list[TableImage]]:
    """The images of all rows, and those whose file is missing.

    Raises:
        DataError: a path is a URL or can't be a path, or several files have the id.
    """
    finder = Finder(place)
    images: list[TableImage] = []
    refused: dict[str, list[TableImage]] = defaultdict(list)
    for row, line, split in zip(rows, lines, splits, strict=True):
        path, reason = finder.find(row[0])
        image = TableImage(line, row[0], path, row[1], split, row[3])
        images.append(image)
        if reason:
            refused[reason.partition(":")[0]].append(image)
            if reason.startswith("ambiguous"):
                raise DataError(
                    f"{place.file}, {cells.unit} {line}: {row[0]!r} may be several files ({reason[11:]}); give the path"
                )
    for reason, told in _REFUSALS.items():
        if wrong := refused.get(reason):
            where = _lines([image.line for image in wrong], cells.unit)
            raise DataError(
                f"{place.file}: {len(wrong):,} paths {told} ({where}), such as {wrong[0].given[:120]!r}; "
                f"{_ADVICE[reason]}"
            )
    return images, refused.get("missing", [])


_REFUSALS: Mapping[str, str] = {
    "url": "are URLs, which aren't read",
    "drive": "start with a drive of Windows, which this machine doesn't have",
    "null": "contain a null byte",
}
_ADVICE: Mapping[str, str] = {
    "url": "download the files (for S3: aws s3 sync), and give their paths relative to the table",
    "drive": "make them relative to the table",
    "null": "save the table as UTF-8",
}


def _once(images: Sequence[TableImage], table: str, unit: str) -> tuple[list[TableImage], list[str]]:
    """Each file once, and a note about rows that are there twice.

    Raises:
        DataError: a file has two labels, or is in two splits.
    """
    first: dict[str, TableImage] = {}
    again: list[tuple[TableImage, TableImage]] = []
    for image in images:
        earlier = first.setdefault(image.path, image)
        if earlier is not image:
            again.append((earlier, image))
    for what in ("label", "split", "group"):
        different = [(a, b) for a, b in again if getattr(a, what) != getattr(b, what)]
        if different:
            a, b = different[0]
            advice = "an image in two splits makes the measured accuracy too high" if what == "split" else "correct one"
            raise DataError(
                f"{table}: {len({b.path for _, b in different}):,} images have two {what}s, such as {a.given!r}: "
                f"{getattr(a, what)!r} in {unit} {a.line} and {getattr(b, what)!r} in {unit} {b.line}; {advice}"
            )
    notes = []
    if again:
        where = _lines([image.line for _, image in again], unit)
        notes.append(f"{len(again):,} rows repeat an earlier one and are left out ({where})")
    return list(first.values()), notes


def _case_conflicts(images: Sequence[TableImage]) -> list[tuple[str, str]]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(image.label for image in images):
        by_folded[label.casefold()].append(label)
    return [(labels[0], other) for labels in by_folded.values() for other in labels[1:]]


def _lines(lines: Sequence[int], unit: str) -> str:
    more = ", ..." if len(lines) > _SHOWN else ""
    return f"{unit}{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_SHOWN]))}{more}"
