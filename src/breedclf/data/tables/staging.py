"""The images of a table as a folder that can be sent: links to the files, and a table with their paths there."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from breedclf.data.tables.images import images_of_table
from breedclf.data.tables.places import JOB_TABLE, TablePlace


@contextmanager
def staged(place: TablePlace) -> Iterator[Path]:
    """A temporary folder with links to the files of a table, and the table itself as `breedclf-images.csv`.

    Files keep their paths below the table's folder; others, and hidden ones, get a folder of their own.

    Raises:
        DataError: the table can't be used.
    """
    table = images_of_table(place)
    table.require_usable(skip_missing=True)
    with tempfile.TemporaryDirectory(prefix="breedclf-table-") as temporary:
        folder = Path(temporary, (place.root.absolute() if place.anywhere else place.file).stem or "images")
        folder.mkdir()
        with (folder / JOB_TABLE).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "split", "group"])
            for image in table.images:
                path = Path(image.path)
                name = _name(path, place.root)
                rows.writerow([name, image.label, image.split, image.group])
                if path.exists():
                    link = folder / name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(path.absolute())
        yield folder


def _name(path: Path, root: Path) -> str:
    """The path of a file in the staged folder."""
    if path.is_relative_to(root):
        name = PurePosixPath(path.relative_to(root).as_posix())
        if not any(part.startswith(".") for part in name.parts):
            return str(name)
    digest = hashlib.sha256(str(path.parent.absolute()).encode(errors="surrogateescape")).hexdigest()
    return f"elsewhere/{digest[:12]}/{path.name.lstrip('.') or 'image'}"
