"""What changed in a dataset since, and what it must have."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from breedclf import Journey, JourneyResult, JourneySettings, TrainingConfig
from breedclf.errors import DataError
from breedclf.journey.dataset import FileList, dataset_files
from tests.journey.images import write_red_and_blue


def test_changed_new_and_missing_files_are_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_text("x")
    before = dataset_files(tmp_path)
    (tmp_path / "a.jpg").write_text("longer")
    os.utime(tmp_path / "b.jpg", (1, 1))
    (tmp_path / "c.jpg").unlink()
    (tmp_path / "d.jpg").write_text("x")
    after = dataset_files(tmp_path)
    assert before.digest != after.digest
    assert before.difference(after) == "2 changed, 1 new and 1 missing files"


def test_the_list_is_read_again(tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    output.mkdir()
    (data / "a.jpg").write_text("x")
    files = dataset_files(data)
    files.save(output)
    assert FileList.load(output) == files
    assert FileList.load(output).difference(FileList({})) == "1 missing file"


def test_a_table_is_one_file_and_a_missing_folder_none(tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text("path,label\n")
    assert list(dataset_files(table).files) == ["images.csv"]
    assert dataset_files(tmp_path / "missing").digest == ""


def test_a_broken_link_is_left_out_and_a_whole_one_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.jpg"
    target.write_text("x")
    data = tmp_path / "data"
    data.mkdir()
    (data / "whole.jpg").symlink_to(target)
    (data / "broken.jpg").symlink_to(tmp_path / "missing.jpg")
    before = dataset_files(data)
    assert list(before.files) == ["whole.jpg"]
    target.write_text("changed")
    assert before.difference(dataset_files(data)) == "1 changed file"


def test_a_dataset_without_test_images_is_refused_before_the_search(tmp_path: Path) -> None:
    data = write_red_and_blue(tmp_path / "dogs")
    shutil.rmtree(data / "test")
    settings = JourneySettings(
        training=TrainingConfig(data=data), output=tmp_path / "out", store=tmp_path / "models", verify=False
    )
    with pytest.raises(
        DataError, match="no test split, which a journey evaluates its model on; its splits are train, "
    ):
        Journey(settings).run()
    assert JourneyResult.load(tmp_path / "out").steps[-1].status == "Failed"
    assert [step.name for step in JourneyResult.load(tmp_path / "out").steps] == ["check"]
