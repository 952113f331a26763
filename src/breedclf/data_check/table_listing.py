"""List the files that training would read by a table, and report the rows that it can't use; decodes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.data.layout import UNDIVIDED, Layout
from breedclf.data.tables.dataset import shared_groups
from breedclf.data.tables.images import TableImages, images_of_table
from breedclf.data.tables.places import TablePlace
from breedclf.data_check.listing import Candidate, Listing
from breedclf.data_check.result import Problem
from breedclf.files.file_stat import FileStat


def list_table(place: TablePlace) -> Listing:
    """The images of a table, with the problems of its rows.

    Raises:
        DataError: the table can't be read.
    """
    table = images_of_table(place)
    splits = dict.fromkeys([image.split or UNDIVIDED for image in table.images], "")
    layout = Layout(splits=splits, parts={}, set_aside=(), why="it is a table")
    listing = Listing(place.root, dict.fromkeys(splits, place.file.name), layout, table=str(place.file))
    if UNDIVIDED not in splits and "train" not in splits:
        listing.folders["train"], listing.labels["train"] = place.file.name, []
    for split in splits:
        labels = {image.label for image in table.images if (image.split or UNDIVIDED) == split}
        listing.labels[split] = sorted(labels)
    missing = {problem.line for problem in table.problems if problem.kind == "missing_file"}
    for image in table.images:
        if image.line in missing:
            continue
        path = Path(image.path)
        name = path.relative_to(place.root).as_posix() if path.is_relative_to(place.root) else str(path)
        try:
            status = FileStat.of(os.stat(image.path))  # noqa: PTH116 - a Path for each of a million names takes seconds
        except OSError as error:
            listing.problems.append(Problem(kind="broken_link", path=name, detail=f"{error.strerror}"))
            continue
        listing.images.append(Candidate(name, image.split or UNDIVIDED, image.label, status))
    _report_rows(listing, table)
    return listing


def _report_rows(listing: Listing, table: TableImages) -> None:
    name = table.place.file.name
    for kind, line, path, detail in table.problems:
        where = f"{table.unit} {line} of {name}"
        listing.problems.append(Problem(kind=kind, path=path or name, detail=f"{where}: {detail}" if detail else where))
    for first, other in table.labels_alike():
        detail = f"differs from {first!r} only in case or in how accents are encoded"
        listing.problems.append(Problem(kind="case_conflict", path=other, detail=detail))
    for group, images in shared_groups(table):
        splits = " and ".join(sorted({image.split for image in images}))
        detail = f"the group {group!r} has images in {splits} ({table.lines(images)} of {name})"
        listing.problems.append(Problem(kind="shared_group", path=images[0].given, detail=detail))
