"""What is wrong with rows of a table: kinds of problems, and the message about those that stop training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

RowKind = Literal[
    "no_path",
    "not_a_path",
    "ambiguous_path",
    "missing_file",
    "no_label",
    "odd_label",
    "no_split",
    "unknown_split",
    "two_labels",
    "two_splits",
    "two_groups",
    "repeated_row",
]
"""The kinds of problems of rows; all but `missing_file` and `repeated_row` stop training."""

_SHOWN = 3


class RowProblem(NamedTuple):
    """One problem; `line` is where the row starts, `path` the row's path as the table has it."""

    kind: RowKind
    line: int
    path: str
    detail: str


class _Text(NamedTuple):
    what: str
    advice: str


_TEXTS: dict[RowKind, _Text] = {
    "no_path": _Text("without path", "fill it in, or remove the rows"),
    "not_a_path": _Text("whose path can't be read", "give paths relative to the table"),
    "ambiguous_path": _Text("that may mean several files", "give the path with its folder and suffix"),
    "missing_file": _Text("whose file doesn't exist", "correct or remove them, or skip them (--on-bad-image skip)"),
    "no_label": _Text("without label", "fill it in, or remove the rows"),
    "odd_label": _Text("whose label contains a control character", "is a quotation mark missing?"),
    "no_split": _Text(
        "without split, though others have one",
        "fill it in, remove the rows, or remove the column to divide all images at random",
    ),
    "unknown_split": _Text("with an unknown split", "use train, valid and test"),
    "two_labels": _Text("giving an image a second label", "keep the correct one"),
    "two_splits": _Text(
        "putting an image into a second split", "keep one: the other makes the measured accuracy too high"
    ),
    "two_groups": _Text("putting an image into a second group", "keep one"),
    "repeated_row": _Text("repeating an earlier one", "they are left out"),
}
WARNINGS: frozenset[RowKind] = frozenset({"missing_file", "repeated_row"})
FATAL_ROWS: frozenset[RowKind] = frozenset(kind for kind in _TEXTS if kind not in WARNINGS)


def message(problems: Sequence[RowProblem], unit: str) -> str:
    """All problems of one kind in one sentence: how many, where the first are, an example, and what to do.

    Example:
        >>> message([RowProblem("no_label", 4, "a.jpg", ""), RowProblem("no_label", 9, "b.jpg", "")], "line")
        "2 rows without label (lines 4, 9), such as 'a.jpg'; fill it in, or remove the rows"
    """
    first, text = problems[0], _TEXTS[problems[0].kind]
    lines = [problem.line for problem in problems]
    subject = "1 row" if len(lines) == 1 else f"{len(lines):,} rows"
    example = f", such as {first.path[:120]!r}" if first.path else ""
    detail = f": {first.detail}" if first.detail else ""
    return f"{subject} {text.what} ({shown_lines(lines, unit)}){example}{detail}; {text.advice}"


def by_kind(problems: Sequence[RowProblem]) -> dict[RowKind, list[RowProblem]]:
    """The problems of each kind."""
    found: dict[RowKind, list[RowProblem]] = defaultdict(list)
    for problem in problems:
        found[problem.kind].append(problem)
    return dict(found)


def shown_lines(lines: Sequence[int], unit: str) -> str:
    """The first lines.

    Example:
        >>> shown_lines([2, 5, 7, 9], "line")
        'lines 2, 5, 7, ...'
    """
    more = ", ..." if len(lines) > _SHOWN else ""
    return f"{unit}{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_SHOWN]))}{more}"
