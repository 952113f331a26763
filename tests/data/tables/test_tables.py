"""Tables in place of folders: columns, encodings, paths, splits, groups, and the same images as a folder tree."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from pathlib import Path

import pytest

from breedclf import TrainingConfig
from breedclf.data.dataset import Dataset
from breedclf.data.image_folder import scan
from breedclf.data.tables.places import place_of
from breedclf.data.tables.staging import staged
from breedclf.data.training_data import load_data, training_images
from breedclf.errors import DataError
from breedclf.features.digests import digests_of
from breedclf.testing.images import write_image_set
from tests.data.tables.conftest import Write


def dataset_of(path: Path, **settings: object) -> Dataset:
    return training_images(TrainingConfig(data=path, **settings))  # type: ignore[arg-type]


def names_in(dataset: Dataset, split: str) -> list[str]:
    found = dataset.splits[split]
    return [Path(found.images.name(index)).name for index in range(len(found))]


def write_tree_table(tree: Path, table: Path, *, with_split: bool = True) -> None:
    """The images of a folder tree as a table, in the order of the tree."""
    folder = scan(tree)
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"] if with_split else ["path", "label"])
        for name, split in folder.splits.items():
            for index, target in enumerate(split.targets):
                path = Path(split.images.name(index)).relative_to(table.parent)
                rows.writerow([path, folder.labels[target], name][: 3 if with_split else 2])


def test_a_table_in_the_order_of_a_tree_is_that_tree(tmp_path: Path) -> None:
    tree = write_image_set(tmp_path / "tree", classes=3, train=3, valid=1, test=1, size_px=24)
    write_tree_table(tree, tmp_path / "images.csv")
    one, other = load_data(TrainingConfig(data=tree)), load_data(TrainingConfig(data=tmp_path / "images.csv"))
    assert one == other
    assert digests_of(one.train.images).fingerprint == digests_of(other.train.images).fingerprint


def test_without_a_split_it_is_divided_as_the_tree(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        (tmp_path / "tree" / label).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "tree" / label / f"{number:02d}.jpg").touch()
    paths = sorted((tmp_path / "tree").rglob("*.jpg"))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in paths]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows]))
    for seed in (0, 7):
        shares = {"valid_share": 0.2, "test_share": 0.1, "split_seed": seed}
        assert dataset_of(tmp_path / "images.csv", **shares).splits == dataset_of(tmp_path / "tree", **shares).splits


def test_labels_beside_a_folder_as_from_kaggle(images: Path, tmp_path: Path, rows: list[str]) -> None:
    below = images / "more"
    below.mkdir()
    (images / "dog9.jpg").rename(below / "dog9.jpg")
    (tmp_path / "labels.csv").write_text("\n".join(["id,breed", *(row.replace(".jpg", "") for row in rows[1:])]))
    found = dataset_of(images, labels=tmp_path / "labels.csv")
    assert found.labels == ("cat", "dog")
    assert sorted(name for split in found.splits for name in names_in(found, split)) == sorted(
        row.split(",")[0] for row in rows[1:]
    )
    assert Counter({name: len(split) for name, split in found.splits.items()}) == {"train": 12, "valid": 4, "test": 4}


@pytest.mark.parametrize(
    "header",
    [
        "PATH,Label",
        "filename, Class ",
        "image,breed",
        "File Name,category",
        "id,target",
        "path,id,label",
        "id,image,label",
    ],
)
def test_usual_names_of_columns(table: Write, header: str) -> None:
    width = header.count(",") + 1
    name = [part.strip() for part in header.split(",")]
    at = next(index for index, part in enumerate(name) if part != "id" or width == 2)
    body = []
    for label in ("cat", "dog"):
        for number in range(3):
            row = ["7"] * width
            row[at], row[-1] = f"{label}{number}.jpg", label
            body.append(",".join(row))
    found = dataset_of(table([header, *body]))
    assert sorted(names_in(found, "train") + names_in(found, "valid")) == sorted(
        f"{label}{number}.jpg" for label in ("cat", "dog") for number in range(3)
    )


@pytest.mark.parametrize(
    ("separator", "encoding", "end", "name"),
    [
        (";", "utf-8", "\r\n", "images.csv"),
        ("\t", "utf-8", "\n", "images.tsv"),
        ("\t", "utf-16", "\r\n", "images.txt"),
        (",", "utf-8-sig", "\r\n", "images.CSV"),
        (",", "utf-16", "\r", "images.csv"),
    ],
)
def test_spreadsheets_of_all_kinds(
    table: Write, rows: list[str], separator: str, encoding: str, end: str, name: str
) -> None:
    text = end.join(row.replace(",dog", ",épagneul").replace(",", separator) for row in rows)
    found = dataset_of(table(text.encode(encoding), name))
    assert "épagneul" in found.labels
    assert len(found.split("train")) == 12


def test_cells_are_read_as_they_are_meant(table: Write, images: Path, caplog: pytest.LogCaptureFixture) -> None:
    (images / "a,b.jpg").touch()
    (images / "deep").mkdir()
    for number in range(4):
        (images / "deep" / f"{number}.jpg").touch()
    content = [
        "path,label",
        '"a,b.jpg", 01 ',
        "deep\\0.jpg,01",
        f"{images}/deep/1.jpg,1",
        "",
        "./deep/../deep/2.jpg,1",
        "../photos/deep/3.jpg, Big Dog",
        "cat0.jpg,Big Dog",
        "cat1.jpg,big dog",
        "cat2.jpg,big dog",
        "cat2.jpg,big dog",
        "cat2.jpg , big dog",
    ]
    with caplog.at_level(logging.WARNING):
        found = dataset_of(table(content), valid_share=0.01, test_share=0)
    assert found.labels == ("01", "1", "Big Dog", "big dog")
    assert len(found.splits["train"]) + len(found.splits["valid"]) == 8
    assert (
        "2 rows repeating an earlier one (lines 11, 12), such as 'cat2.jpg': as line 10; they are left out"
        in caplog.text
    )
    assert (
        "the labels 'Big Dog' and 'big dog' differ only in case or in how accents are encoded, and are" in caplog.text
    )


def test_a_line_break_in_quotes_doesn_t_shift_the_line_numbers(table: Write, caplog: pytest.LogCaptureFixture) -> None:
    content = 'path,label,note\ncat0.jpg,cat,"two\nlines"\ndog0.jpg,dog,\ndog0.jpg,dog,\n'
    with caplog.at_level(logging.WARNING):
        dataset_of(table(content), on_bad_image="skip")
    assert "1 row repeating an earlier one (line 5)" in caplog.text


def test_accents_are_the_same_in_either_encoding(images: Path, table: Write, caplog: pytest.LogCaptureFixture) -> None:
    composed, decomposed = "\u00e9pagneul", "e\u0301pagneul"
    (images / f"{decomposed}.jpg").touch()
    content = ["path,label", f"{composed}.jpg,{composed}", f"cat0.jpg,{decomposed}", "dog0.jpg,Boston\u00a0terrier"]
    with caplog.at_level(logging.WARNING):
        found = dataset_of(table(content), valid_share=0.01)
    assert set(found.labels) == {composed, decomposed, "Boston\u00a0terrier"}
    assert "differ only in case or in how accents are encoded" in caplog.text


def test_the_home_folder(images: Path, tmp_path: Path, rows: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(images))
    (tmp_path / "images.csv").write_text("\n".join([rows[0], *(f"~/{row}" for row in rows[1:])]))
    assert len(dataset_of(tmp_path / "images.csv").split("train")) == 12


def test_missing_files_are_skipped_on_request(table: Write, rows: list[str], caplog: pytest.LogCaptureFixture) -> None:
    path = table([*rows, "gone.jpg,cat", "also/gone.jpg,dog"])
    with caplog.at_level(logging.WARNING):
        found = dataset_of(path, on_bad_image="skip")
    assert sum(len(split) for split in found.splits.values()) == 22
    assert "2 rows whose file doesn't exist (lines 22, 23), such as 'gone.jpg'" in caplog.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("Training", "validation", "TEST"), {"train", "valid", "test"}),
        (("train", "val", "eval"), {"train", "valid", "test"}),
        (("train", "eval"), {"train", "valid"}),
        (("train", "test"), {"train", "valid", "test"}),
        (("train",), {"train", "valid"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_splits_have_their_usual_names(
    table: Write, rows: list[str], words: tuple[str, ...], expected: set[str]
) -> None:
    body = [f"{row},{words[number % len(words)]}" for number, row in enumerate(rows[1:])]
    found = dataset_of(table(["path,label,split", *body]))
    assert {name for name, split in found.splits.items() if len(split)} == expected


def test_an_empty_split_column_is_as_none(table: Write, rows: list[str]) -> None:
    with_column = dataset_of(table(["path,label,split", *(f"{row}," for row in rows[1:])], "one.csv"))
    assert with_column.splits == dataset_of(table(rows, "other.csv")).splits


def test_groups_stay_together(table: Write, rows: list[str], caplog: pytest.LogCaptureFixture) -> None:
    body = [f"{row},{'' if number in (3, 13) else number % 5}" for number, row in enumerate(rows[1:])]
    path = table(["path,label,group", *body])
    split_of = {}
    found = dataset_of(path, valid_share=0.2, test_share=0.2)
    for split in found.splits:
        for name in names_in(found, split):
            split_of[name] = split
    for group in range(5):
        members = [row.split(",")[0] for row in body if row.endswith(f",{group}")]
        assert len({split_of[name] for name in members}) == 1
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 12, "valid": 4, "test": 4}
    assert dataset_of(path, valid_share=0.2, test_share=0.2).splits == found.splits
    with caplog.at_level(logging.WARNING):
        one_group = [f"{row},{'all' if row.endswith('dog') else number}" for number, row in enumerate(rows[1:])]
        found = dataset_of(table(["path,label,group", *one_group]))
    assert "all images of 'dog' are in one group, which stays in training" in caplog.text
    assert names_in(found, "train")[-10:] == [f"dog{number}.jpg" for number in range(10)]


@pytest.mark.parametrize("groups", [2, 3, 4, 10])
def test_every_class_is_trained_and_something_is_left_for_validation(
    table: Write, rows: list[str], groups: int
) -> None:
    path = table(["path,label,group", *(f"{row},{number % groups}" for number, row in enumerate(rows[1:]))])
    for shares in ({}, {"valid_share": 0.6, "test_share": 0.3}):
        found = dataset_of(path, **shares)
        assert set(found.splits["train"].targets) == {0, 1}
        assert len(found.splits["valid"])


def test_groups_that_can_t_be_divided(table: Write, rows: list[str]) -> None:
    path = table(["path,label,group", *(f"{row},{row[-3:]}" for row in rows[1:])])
    with pytest.raises(DataError, match=r"training needs each of the 2 groups, so none is left for valid; use smaller"):
        dataset_of(path)


def test_groups_in_several_splits_are_said(table: Write, rows: list[str], caplog: pytest.LogCaptureFixture) -> None:
    body = [f"{row},{'train' if number % 2 else 'valid'},{number // 2}" for number, row in enumerate(rows[1:])]
    with caplog.at_level(logging.WARNING):
        dataset_of(table(["path,label,split,group", *body]))
    assert "10 groups have images in several splits, such as '0' (lines 2, 3)" in caplog.text


def test_parquet_is_read_as_text(images: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths = [f"{label}{number}.jpg" for label in ("cat", "dog") for number in range(10)]
    columns = {
        "text": ["01" if path.startswith("cat") else "1" for path in paths],
        "integers": [int(path.startswith("cat")) for path in paths],
        "floats": [float(path.startswith("cat")) for path in paths],
        "halves": [0.5 for _ in paths],
    }
    found = {}
    for name, values in columns.items():
        table = pyarrow.table({"note": [[1]] * len(paths), "image": paths, "label": values})
        parquet.write_table(table, images / f"{name}.parquet")
        if name != "halves":
            found[name] = dataset_of(images / f"{name}.parquet").labels
    assert found == {"text": ("01", "1"), "integers": ("0", "1"), "floats": ("0", "1")}
    with pytest.raises(Exception, match=r"column 'label' holds double, not text or integers"):
        dataset_of(images / "halves.parquet")
    (images / "broken.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(Exception, match=r"broken.parquet can't be read as Parquet"):
        dataset_of(images / "broken.parquet")


def test_without_pyarrow_it_is_said_how_to_get_it(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images / "images.parquet").touch()
    monkeypatch.setattr("breedclf.runtime.extras.find_spec", lambda _name: None)
    with pytest.raises(Exception, match=r"images.parquet needs pyarrow, which is not installed: pip install 'breedclf"):
        dataset_of(images / "images.parquet")


def test_what_is_sent_is_the_listed_images_and_a_table_of_them(images: Path, table: Write, tmp_path: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    (images / ".hidden.jpg").write_bytes(b"hidden")
    path = table(
        ["id,label,split", "cat0,cat,train", "dog0.jpg,dog,train", "../outside.jpg,dog,valid", ".hidden.jpg,cat,valid"]
    )
    place = place_of(path)
    assert place is not None
    with staged(place) as folder:
        assert folder.name == "images"
        sent = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        found = dataset_of(folder)
        assert [split.targets for split in found.splits.values()] == [
            split.targets for split in dataset_of(path).splits.values()
        ]
        assert (
            digests_of(found.splits["valid"].images).fingerprint
            == digests_of(dataset_of(path).splits["valid"].images).fingerprint
        )
    assert sorted(sent.values())[:4] == [b"cat0", b"dog0", b"hidden", b"outside"]
    assert {"cat0.jpg", "dog0.jpg", "breedclf-images.csv"} < set(sent)
    assert not any(name.startswith(".") for name in sent)
