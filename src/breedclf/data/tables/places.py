"""Where a dataset is: an image folder, or a table with the folder that its paths refer to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from breedclf.errors import DataError
from breedclf.files.s3_uri import only_in_s3

JOB_TABLE = "breedclf-images.csv"
"""The table that is sent with the images of a job, in their folder; a folder that holds it is read by it."""

TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})


class TablePlace(NamedTuple):
    """A table and the folder that its paths refer to; in `anywhere`, an id may also name a file in a subfolder."""

    file: Path
    root: Path
    anywhere: bool = False

    @property
    def is_parquet(self) -> bool:
        """Whether the table is a Parquet file."""
        return self.file.suffix.lower() in PARQUET_SUFFIXES


def is_table(path: Path) -> bool:
    """Whether a path is a file whose name is that of a table."""
    return _is_table_name(path) and path.is_file()


def place_of(data: Path, labels: Path | None = None, *, setting: str = "data") -> TablePlace | None:
    """The table that `data` and `labels` mean; None if `data` is an image folder. `setting` is its name in messages.

    Raises:
        DataError: `data` is a file that isn't a table, or `labels` isn't a table beside a folder.
    """
    if labels is not None:
        if not data.is_dir():
            what = "is a file" if data.exists() else "does not exist"
            needs = f"labels={labels} needs the folder that holds the images as data, but {data} {what}"
            raise DataError(only_in_s3(data) or needs)
        return TablePlace(_checked(labels, "labels"), data, anywhere=True)
    if (data / JOB_TABLE).is_file():
        return TablePlace(data / JOB_TABLE, data)
    if data.is_dir() or not (data.exists() or _is_table_name(data)):
        return None
    return TablePlace(_checked(data, setting), data.parent)


def _checked(file: Path, setting: str) -> Path:
    known = "a table (.csv, .tsv, .txt or .parquet)"
    if file.is_dir():
        raise DataError(f"{setting}={file} is a folder: give {known}, such as {file / 'labels.csv'}")
    if not file.exists():
        raise DataError(only_in_s3(file) or f"the table {file} does not exist")
    if not file.is_file():
        raise DataError(f"{setting}={file} is not a regular file: give {known}")
    if not _is_table_name(file):
        what = "a table" if setting == "labels" else "a folder or a table"
        advice = "; save the sheet as CSV" if file.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
        raise DataError(f"{setting}={file} is not {what} (.csv, .tsv, .txt or .parquet){advice}")
    return file


def _is_table_name(path: Path) -> bool:
    return path.suffix.lower() in TEXT_SUFFIXES | PARQUET_SUFFIXES
