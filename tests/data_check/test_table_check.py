"""The dataset check of a table: problems of rows, files and classes, with the paths of the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf.cli import main
from breedclf.data_check import check
from breedclf.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number in range(6):
            pixels = draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}{number}.png")
    return folder


def write(photos: Path, *rows: str, header: str = "path,label,split") -> Path:
    table = photos.parent / "images.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return table


def kinds(table: Path, **options: object) -> list[tuple[str, str]]:
    found = check(table, quiet=True, **options)  # type: ignore[arg-type]
    return [(problem.kind, problem.path) for problem in found.problems]


def good_rows() -> list[str]:
    return [
        f"photos/{label}{number}.png,{label},{'train' if number < 4 else 'valid'}"
        for label in ("cat", "dog")
        for number in range(6)
    ]


def test_a_clean_table_is_clean(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(photos, *good_rows())
    found = check(table, quiet=True)
    assert found.clean
    assert found.splits == {"train": 8, "valid": 4}
    assert found.classes == {"cat": {"train": 4, "valid": 2}, "dog": {"train": 4, "valid": 2}}
    assert found.folder == str(table)
    again = check(table, quiet=True)
    assert again.cached == 12
    assert main(["data", "check", str(table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 12


def test_labels_beside_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat1.png").write_bytes(b"no image")
    rows = [f"{path.stem},{path.stem[:3]}" for path in sorted(photos.iterdir())]
    table = write(photos, *rows, header="id,breed")
    assert main(["data", "check", str(photos), "--labels", str(table), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [("unreadable", "cat1.png")]
    assert found["notes"] == ["the table has no column split: training splits the images itself, with a seed"]


def test_every_problem_of_rows_is_listed(photos: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "cat0.png").read_bytes())
    (photos / "nosuffix").write_bytes((photos / "dog0.png").read_bytes())
    table = write(
        photos,
        *good_rows(),
        "photos/cat0.png,dog,train",
        "photos/cat1.png,cat,valid",
        "photos/cat2.png,cat,train",
        "photos/gone.png,cat,train",
        "https://x.org/a.png,cat,train",
        ",cat,train",
        "photos/cat3.png,,train",
        "photos/cat3.png,cat,",
        "photos/cat3.png,cat,fold1",
        "photos/copy.png,cat,valid",
        "photos/nosuffix,Dog,train",
    )
    assert kinds(table) == [
        ("no_path", "images.csv"),
        ("not_a_path", "https://x.org/a.png"),
        ("no_label", "photos/cat3.png"),
        ("no_split", "photos/cat3.png"),
        ("unknown_split", "photos/cat3.png"),
        ("two_labels", "photos/cat0.png"),
        ("two_splits", "photos/cat1.png"),
        ("missing_file", "photos/gone.png"),
        ("class_missing_in_split", "Dog"),
        ("duplicate_across_splits", "photos/copy.png"),
        ("duplicate_across_classes", "photos/nosuffix"),
        ("repeated_row", "photos/cat2.png"),
        ("case_conflict", "Dog"),
    ]
    details = {problem.kind: problem.detail for problem in check(table, quiet=True).problems}
    assert details["two_labels"] == "line 14 of images.csv: 'cat' in line 2, 'dog' in line 14"
    assert details["missing_file"].startswith("line 17 of images.csv: ")


def test_groups_classes_and_splits(photos: Path) -> None:
    rows = [f"{row},{number % 6 if number < 6 else 'g'}" for number, row in enumerate(good_rows())]
    table = write(photos, *rows, header="path,label,split,group")
    assert kinds(table) == [("shared_group", "photos/dog0.png")]
    table = write(photos, *(row.replace("dog,valid", "wolf,valid") for row in good_rows()))
    assert kinds(table) == [("class_missing_in_train", "wolf"), ("class_missing_in_split", "dog")]
    table = write(photos, *(row.replace("dog", "cat", 1).replace(",dog", ",cat") for row in good_rows()))
    assert ("one_class", "images.csv") in kinds(table)


def test_a_table_that_can_t_be_read_is_an_error(photos: Path) -> None:
    with pytest.raises(DataError, match=r"images.csv has no column for the path and label"):
        check(write(photos, "a.png,cat,train", header="x,y,z"), quiet=True)
    assert main(["data", "check", str(photos.parent / "none.csv")]) == 3
