"""Read the cells of a text table: encodings, separators, quotes, and the line that each row starts at."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from breedclf.data.tables.columns import Columns, columns_of
from breedclf.errors import DataError

MAX_BYTES = 1 << 30
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_SEPARATORS = (",", ";", "\t")
_SHOWN = 3


@dataclass(frozen=True)
class Cells:
    """The rows of a table below its header; `lines[i]` is the line or row number, from 1, at which row i starts."""

    columns: Columns
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    unit: str = "line"


def read_text_table(file: Path) -> Cells:
    """Read a CSV file or one separated by semicolons or tabs, in UTF-8 or UTF-16.

    Raises:
        DataError: it can't be read, its header has no columns for path and label, or a row has another length.
    """
    text = _text_of(file)
    separator = _separator_of(text, file)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[tuple[int, int]] = []
    before = 0
    try:
        header = next(row for row in reader if any(row))
        width, before = len(header), reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            if len(row) == width:
                rows.append(row)
                lines.append(line)
            elif any(cell.strip() for cell in row):
                ragged.append((line, len(row)))
    except csv.Error as error:
        raise DataError(
            f"{file}, line {before + 1}: {error}; is a quotation mark missing? A cell that contains quotation marks "
            'must be quoted, and each of them doubled ("")'
        ) from error
    if ragged:
        shown = ", ".join(f"line {line} has {count}" for line, count in ragged[:_SHOWN])
        raise DataError(
            f"{file}: {len(ragged):,} rows don't have the {width} cells of the header ({shown}); quote cells that "
            f"contain {_name_of(separator)}"
        )
    return Cells(columns_of(header, str(file)), rows, lines)


def _text_of(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{file} has {size:,} bytes; a table may have up to {MAX_BYTES:,}")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}") from error
    encoding = next((name for bom, name in _BOMS.items() if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(_not_text(file, data, encoding, error)) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{file}, line {line}: it contains null bytes, so it isn't a text table; save it as UTF-8")
    if not text.strip():
        raise DataError(f"{file} is empty: a table starts with a header line such as path,label")
    return text


def _not_text(file: Path, data: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    if encoding == "utf-16":
        return f"{file} starts as UTF-16 but isn't ({error.reason}); save it as UTF-8"
    start, end = data.rfind(b"\n", 0, error.start) + 1, data.find(b"\n", error.start)
    shown = data[start : end if end >= 0 else None][:80].decode("cp1252", "replace").strip()
    line = data.count(b"\n", 0, error.start) + 1
    return (
        f"{file}, line {line}: it isn't UTF-8; in Windows encoding (cp1252) it reads {shown!r}. If that is correct, "
        "convert the file: iconv -f cp1252 -t utf-8"
    )


def _separator_of(text: str, file: Path) -> str:
    """The separator by which the header names a column for the path and one for the label.

    Raises:
        DataError: there is none.
    """
    header = next(line for line in text.splitlines() if line.strip())
    by_separator = {separator: _split(header, separator) for separator in _SEPARATORS}
    fitting = [separator for separator, names in by_separator.items() if Columns.may_be(names)]
    if len(fitting) == 1:
        return fitting[0]
    most = max(_SEPARATORS, key=lambda separator: len(by_separator[separator]))
    columns_of(by_separator[most], str(file))  # raises an error that names the columns
    return most


def _split(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator))
    except (csv.Error, StopIteration):
        return []


def _name_of(separator: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}[separator]
