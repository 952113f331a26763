"""Tables that can't be used: the error says what is wrong, in which line, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from breedclf import TrainingConfig
from breedclf.data.training_data import training_images
from breedclf.errors import DataError
from tests.data.tables.conftest import Write

GOOD = "cat0.jpg,cat\ndog0.jpg,dog\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"images.csv is empty: a table starts with a header line such as path,label"),
        (b"\xef\xbb\xbf \r\n", r"images.csv is empty"),
        ("path,label\n", r"images.csv has a header, but no rows below it"),
        (GOOD, r"has no column for the path and label: its first line has 'cat0.jpg', 'cat'; start it with a header"),
        ("path,colour\n" + GOOD, r"has no column for the label: its first line has 'path', 'colour'"),
        ("file,image,label\na,b,cat\n", r"2 columns that may be the path: 'file', 'image'; rename the correct one"),
        ("path,class,breed\na,b,cat\n", r"2 columns that may be the label: 'class', 'breed'"),
        ("path,path,label\na,b,cat\n", r"2 columns that may be the path: 'path', 'path'"),
        ("path,label\ncat0.jpg,cat\ncat1.jpg\ndog0.jpg,a,b\n", r"2 rows .* 2 cells .*line 3 has 1, line 4 has 3"),
        ('path,label\ncat0.jpg,cat\n"dog0.jpg,dog\n', r"images.csv, line 3: .*; is a quotation mark missing\?"),
        ("path,label\ncat0.jpg," + "x" * 200_000 + "\n", r"images.csv, line 2: field larger than field limit"),
        ("path,label\ncat0.jpg,c\0t\n", r"images.csv, line 2: it contains null bytes, so it isn't a text table"),
        ("path,label\ncat0.jpg,épagneul\n".encode("cp1252"), r"line 2: it isn't UTF-8; .* 'cat0.jpg,épagneul'.*iconv"),
        (b"\xff\xfe\x00", r"starts as UTF-16 but isn't"),
        ("path,label\n" + GOOD + "cat1.jpg,\n,dog\ncat2.jpg, \n", r"2 rows without label \(lines 4, 6\)"),
        ("path,label\n,dog\n" + GOOD, r"1 row without path \(line 2\); fill it in"),
        ('path,label\ncat0.jpg,"ca\nt"\n', r"1 row whose label contains a control character \(line 2\).*'ca\\nt'"),
        ("path,label\n" + GOOD + "cat0.jpg,dog\n", r"second label \(line 4\).*: 'cat' in line 2, 'dog' in"),
        ("path,label\n" + GOOD + "./cat0.jpg,dog\n", r"1 row giving an image a second label"),
        ("path,label,split\ncat0.jpg,cat,train\ncat0.jpg,cat,test\n", r"second split \(line 3\).*'train' in line 2"),
        ("path,label,split\ncat0.jpg,cat,train\ndog0.jpg,dog,\n", r"1 row without split, though .* \(line 3\)"),
        ("path,label,split\ncat0.jpg,cat,1\ndog0.jpg,dog,2\n", r"2 rows with an unknown split .*: '1' is none of"),
        ("path,label,split\ncat0.jpg,cat,test\ndog0.jpg,dog,valid\n", r"no training images: its splits are .*test"),
        (
            "path,label,split\ncat0.jpg,cat,train\ndog0.jpg,dog,train\ndog1.jpg,wolf,test\n",
            r"the test split has classes that train doesn't have: 'wolf' \(line 4\)",
        ),
        ("path,label\ncat0.jpg,cat\ncat1.jpg,cat\n", r"has only one class, 'cat'; a classifier needs two or more"),
        ("path,label\n" + GOOD + "gone.jpg,cat\n", r"1 row whose file doesn't exist \(line 4\), such as 'gone.jpg'"),
        ("path,label\n" + GOOD + "https://x.org/a.jpg,cat\n", r"path can't be read \(line 4\).*a URL, which isn't"),
        ("path,label\n" + GOOD + "s3://mine/a.jpg,cat\n", r"'s3://mine/a.jpg': a URL, .*aws s3"),
        ("path,label\n" + GOOD + "C:\\dogs\\a.jpg,cat\n", r"a drive of Windows, which this machine doesn't have"),
        ("path;label\n" + GOOD, r"2 rows don't have the 2 cells of the header .*line 2 has 1.*contain a semicolon"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:40] if isinstance(value, str) else "bytes",
)  # fmt: skip
def test_it_is_refused_with_a_reason(table: Write, content: str | bytes, told: str) -> None:
    path = table(content)
    with pytest.raises(DataError, match=told) as caught:
        training_images(TrainingConfig(data=path))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("data", "labels", "told"),
    [
        ("nothing.csv", None, r"the table \S*nothing.csv does not exist"),
        (
            "photos/cat0.jpg",
            None,
            r"data=\S*cat0.jpg is not a folder or a table \(.csv, .tsv, .txt or .parquet\)",
        ),
        ("sheet.xlsx", None, r"sheet.xlsx is not a folder or a table .*; save the sheet as CSV"),
        ("photos", "photos", r"labels=\S*photos is a folder: give a table"),
        ("photos", "nothing.csv", r"the table \S*nothing.csv does not exist"),
        ("photos/cat0.jpg", "photos/cat1.jpg", r"needs the folder that holds the images as data, but \S* is a file"),
        ("nothing", "photos/images.csv", r"needs the folder .* \S*nothing does not exist"),
        ("photos", "photos/cat0.jpg", r"labels=\S*cat0.jpg is not a table \(.csv"),
    ],
)
def test_what_is_no_table(images: Path, data: str, labels: str | None, told: str) -> None:
    home = images.parent
    (home / "sheet.xlsx").write_bytes(b"PK")
    (images / "images.csv").write_text("path,label\n")
    config = TrainingConfig(data=home / data, labels=None if labels is None else home / labels)
    with pytest.raises(DataError, match=told):
        training_images(config)


def test_an_id_that_may_be_several_files(images: Path, table: Write) -> None:
    (images / "cat0.png").write_bytes(b"another")
    path = table("id,label\ncat0,cat\ndog0,dog\n")
    with pytest.raises(DataError, match=r"1 row that may mean several files \(line 2\).*cat0.jpg, .*cat0.png; give"):
        training_images(TrainingConfig(data=path))
