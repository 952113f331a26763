"""The moves of a review: a table of which image goes where, which people may edit."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from breedclf.config import nearest
from breedclf.errors import DataError
from breedclf.text.printable import storable

if TYPE_CHECKING:
    from breedclf.label_review.result import Review

Action = Literal["move", "drop", "keep"]
COLUMNS = ("path", "given", "action", "to", "probability_wrong", "reason")
_REQUIRED = COLUMNS[:4]
_LIKELY = 0.5


@dataclass(frozen=True)
class Move:
    """What becomes of an image: it moves to the class `to`, is dropped, or kept; the other images are kept, too."""

    path: str
    given: str
    action: Action
    to: str = ""
    probability_wrong: str = ""
    reason: str = ""


def moves_of(review: Review) -> list[Move]:
    """The proposed moves: suspects that are more likely wrong than right move, others and near duplicates are kept."""
    moves = {
        storable(each.path): Move(
            storable(each.path),
            storable(each.given),
            "move" if each.probability_wrong >= _LIKELY else "keep",
            storable(each.proposed),
            f"{each.probability_wrong:.2f}",
            "suspect",
        )
        for each in review.suspects
    }
    for number, near in enumerate(review.near_duplicates, 1):
        where = ", across splits" if near.across_splits else ""
        for path, label in zip(near.paths, near.labels, strict=True):
            reason = f"near duplicate {number}{where}"
            moves.setdefault(storable(path), Move(storable(path), storable(label), "keep", "", "", reason))
    return list(moves.values())


def moves_text(moves: Iterable[Move]) -> str:
    """The moves as CSV."""
    file = StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(astuple(move) for move in moves)
    return file.getvalue()


def read_moves(path: Path) -> list[Move]:
    """Read an edited table.

    Raises:
        DataError: it can't be read, lacks a column, has an unknown action, or a path twice.
    """
    try:
        lines = list(csv.reader(StringIO(path.read_text(encoding="utf-8-sig")), strict=True))
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read as CSV in UTF-8: {error}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if lacking := [name for name in _REQUIRED if name not in header]:
        raise DataError(f"{path} has no column {lacking[0]!r}: its first row must have {','.join(_REQUIRED)}")
    moves: dict[str, Move] = {}
    for line, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(header, cells, strict=False))
        where = f"{path}, row {line}"
        if missing := [name for name in _REQUIRED if name not in row]:
            raise DataError(f"{where} has no {missing[0]!r}: it must have as many cells as the header")
        action = row["action"].strip().lower()
        if action not in get_args(Action):
            raise DataError(f"{where}: unknown action {action!r}: {nearest(action, get_args(Action))}")
        if row["path"] in moves:
            raise DataError(f"{where}: {row['path']!r} is in an earlier row, too: keep one of them")
        moves[row["path"]] = Move(row["path"], row["given"], cast("Action", action), row["to"].strip())
    return list(moves.values())


def check_moves(moves: Sequence[Move], labels_of: dict[str, str], labels: Sequence[str]) -> None:
    """Check that moves fit the images; `labels_of` has the given label of each path.

    Raises:
        DataError: a path is none of the reviewed images', a given label isn't theirs, or a class is unknown.
    """
    for move in moves:
        if move.path not in labels_of:
            raise DataError(
                f"moves: {move.path!r} is no image of this review; paths are relative to the reviewed folder, as "
                "in its moves.csv"
            )
        given = labels_of[move.path]
        if move.given and move.given != given:
            raise DataError(f"moves: {move.path!r} is of class {given!r} now, not {move.given!r}: review again")
        if move.action == "move" and move.to not in labels:
            hint = nearest(move.to, labels)
            raise DataError(f"moves: {move.path!r} can't move to {move.to!r}, which is no class: {hint}")
