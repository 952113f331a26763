"""Read a Parquet table by pyarrow, which the extra `parquet` installs: the columns that name images and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from breedclf.data.tables.cells import Cells
from breedclf.data.tables.columns import Columns, columns_of
from breedclf.errors import DataError
from breedclf.runtime.extras import require_extra


def read_parquet_table(file: Path) -> Cells:
    """Read the columns for path, label, split and group; numbers become text, and missing values empty text.

    Raises:
        MissingExtraError: pyarrow isn't installed.
        DataError: it can't be read, lacks a column, or a column isn't text or integers.
    """
    require_extra("pyarrow", purpose=f"the table {file.name}", install="'breedclf[parquet]'")
    import pyarrow
    from pyarrow import parquet

    try:
        names = list(parquet.read_schema(file).names)
        columns = columns_of(names, str(file))
        used = [at for at in columns[:4] if isinstance(at, int)]
        table = parquet.read_table(file, columns=[names[at] for at in used])
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} can't be read as Parquet: {str(error).splitlines()[0]}") from error
    values = {at: _texts(table.column(names[at]), names[at], file) for at in used}
    positions = {at: number for number, at in enumerate(used)}
    rows = list(zip(*values.values(), strict=True))
    split, group = (None if at is None else positions[at] for at in (columns.split, columns.group))
    moved = Columns(positions[columns.path], positions[columns.label], split, group, columns.unread)
    return Cells(moved, rows, range(1, len(rows) + 1), unit="row")


def _texts(column: Any, name: str, file: Path) -> list[str]:
    import pyarrow

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    values = column.to_pylist()
    if pyarrow.types.is_floating(kind):  # integers with missing values
        values = [int(value) if value is not None and value == int(value) else value for value in values]
        kind = pyarrow.int64() if all(value is None or isinstance(value, int) for value in values) else kind
    texts = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_integer(kind)
    if not (texts or pyarrow.types.is_null(kind)):
        raise DataError(f"{file}: column {name!r} holds {column.type}, not text or integers")
    return ["" if value is None else str(value) for value in values]
