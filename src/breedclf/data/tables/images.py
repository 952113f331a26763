"""The images of a table: each row checked, each file found; what is wrong is collected, with line numbers."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from breedclf.data.layout.names import SPELLINGS, ranked_split, some_names
from breedclf.data.tables.cells import Cells, read_text_table
from breedclf.data.tables.files import Finder
from breedclf.data.tables.parquet import read_parquet_table
from breedclf.data.tables.places import TablePlace
from breedclf.data.tables.problems import WARNINGS, RowKind, RowProblem, by_kind, message, shown_lines
from breedclf.errors import DataError

log: logging.Logger = logging.getLogger(__name__)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REFUSED: dict[str, str] = {
    "url": "a URL, which isn't read: download the files (for S3: aws s3 sync)",
    "drive": "a drive of Windows, which this machine doesn't have",
    "null": "it contains a null byte",
}


class TableImage(NamedTuple):
    """One row: the line that it starts at, the path as the table has it, the file, and what the row says about it.

    `split` is train, valid, test, or empty if the table has no splits; `group` is empty without one.
    """

    line: int
    given: str
    path: str
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class TableImages:
    """The images of a table, each once, in the order of its rows, without rows that can't be used.

    `problems` are all of rows; `unread` are the names of columns that aren't read.
    """

    place: TablePlace
    images: Sequence[TableImage]
    problems: Sequence[RowProblem]
    unit: str
    unread: Sequence[str] = ()

    @property
    def has_splits(self) -> bool:
        """Whether the table assigns images to splits."""
        return bool(self.images) and bool(self.images[0].split)

    def lines(self, images: Sequence[TableImage]) -> str:
        """The first lines of some images, for messages."""
        return shown_lines([image.line for image in images], self.unit)

    def require_usable(self, *, skip_missing: bool) -> None:
        """Check that training can use the table; log a warning about each kind of row that it leaves out.

        Raises:
            DataError: rows can't be used, or files are missing and `skip_missing` isn't set.
        """
        log.info("%s: %d images%s", self.place.file, len(self.images), _unread(self.unread))
        for kind, problems in by_kind(self.problems).items():
            if kind not in WARNINGS or (kind == "missing_file" and not skip_missing):
                raise DataError(f"{self.place.file}: {message(problems, self.unit)}")
            log.warning("%s: %s", self.place.file, message(problems, self.unit))
        for first, other in self.labels_alike():
            log.warning(
                "%s: the labels %r and %r differ only in case or in how accents are encoded, and are two classes",
                self.place.file,
                first,
                other,
            )

    def labels_alike(self) -> list[tuple[str, str]]:
        """Pairs of labels that differ only in case or in how accents are encoded."""
        by_folded: dict[str, list[str]] = defaultdict(list)
        for label in dict.fromkeys(image.label for image in self.images):
            by_folded[unicodedata.normalize("NFC", label.casefold())].append(label)
        return [(labels[0], other) for labels in by_folded.values() for other in labels[1:]]


def images_of_table(place: TablePlace) -> TableImages:
    """Read a table and find its files.

    Raises:
        DataError: the table can't be read, has no columns for path and label, or no rows.
        MissingExtraError: it is a Parquet table and pyarrow isn't installed.
    """
    cells = read_parquet_table(place.file) if place.is_parquet else read_text_table(place.file)
    return _Rows(place, cells).images()


class _Rows:
    """The rows of a table while they are checked."""

    def __init__(self, place: TablePlace, cells: Cells) -> None:
        self.place = place
        self.unit = cells.unit
        self.unread = cells.columns.unread
        at = cells.columns
        self.cells = [
            (
                line,
                row[at.path].strip(),
                row[at.label].strip(),
                "" if at.split is None else row[at.split].strip(),
                "" if at.group is None else row[at.group].strip(),
            )
            for row, line in zip(cells.rows, cells.lines, strict=True)
        ]
        self.cells = [each for each in self.cells if any(each[1:])]
        if not self.cells:
            raise DataError(f"{place.file} has a header, but no rows below it")
        self.problems: list[RowProblem] = []
        self.split_of = _split_names({each[3] for each in self.cells})
        self.first: dict[str, TableImage] = {}

    def images(self) -> TableImages:
        finder = Finder(self.place)
        for line, given, label, split, group in self.cells:
            if self._is_complete(line, given, label, split):
                path, reason = finder.find(given)
                if reason and reason != "missing":
                    self._refuse(line, given, reason)
                    continue
                image = TableImage(line, given, path, label, self.split_of.get(split, ""), group)
                earlier = self.first.setdefault(path, image)
                if earlier is not image:
                    self._again(earlier, image)
                elif reason:
                    self._problem("missing_file", line, given, "" if given == path else path)
        return TableImages(self.place, list(self.first.values()), self.problems, self.unit, self.unread)

    def _is_complete(self, line: int, given: str, label: str, split: str) -> bool:
        kind: RowKind | None = None
        detail = ""
        if not given:
            kind = "no_path"
        elif not label:
            kind = "no_label"
        elif _CONTROL.search(label):
            kind, detail = "odd_label", repr(label[:40])
        elif not split and self.split_of:
            kind = "no_split"
        elif split and split not in self.split_of:
            accepted = ", ".join(spelling for spellings in SPELLINGS.values() for spelling in spellings)
            kind, detail = "unknown_split", f"{split!r} is none of {accepted}"
        if kind is not None:
            self._problem(kind, line, given, detail)
        return kind is None

    def _refuse(self, line: int, given: str, reason: str) -> None:
        if reason in _REFUSED:
            self._problem("not_a_path", line, given, _REFUSED[reason])
        else:
            self._problem("ambiguous_path", line, given, reason.partition(": ")[2])

    def _again(self, earlier: TableImage, image: TableImage) -> None:
        for what, kind in _CONTRADICTIONS.items():
            one, other = getattr(earlier, what), getattr(image, what)
            if one != other:
                detail = f"{one!r} in {self.unit} {earlier.line}, {other!r} in {self.unit} {image.line}"
                self._problem(kind, image.line, image.given, detail)
                return
        self._problem("repeated_row", image.line, image.given, f"as {self.unit} {earlier.line}")

    def _problem(self, kind: RowKind, line: int, path: str, detail: str = "") -> None:
        self.problems.append(RowProblem(kind, line, path, detail))


_CONTRADICTIONS: dict[str, RowKind] = {"label": "two_labels", "split": "two_splits", "group": "two_groups"}


def _split_names(values: set[str]) -> dict[str, str]:
    """The split that each value means; without values that mean none. `eval` means valid, or test beside a valid."""
    ranked = {value: found.split for value in values if value and (found := ranked_split(value))}
    evaluated = "test" if "valid" in ranked.values() and "test" not in ranked.values() else "valid"
    return {value: evaluated if split == "eval" else split for value, split in ranked.items()}


def _unread(names: Sequence[str]) -> str:
    return f"; columns that aren't read: {some_names(names)}" if names else ""
