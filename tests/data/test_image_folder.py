"""Finding images: splits, labels that never shift, and folders that can't be used."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from breedclf.data.class_names import display_names
from breedclf.data.image_folder import scan
from breedclf.errors import DataError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def many(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number:03}.jpg" for number in range(count)]


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_three_splits_by_any_usual_name(tmp_path: Path, valid: str) -> None:
    make(tmp_path, "train/b/1.jpg", "train/a/1.PNG", f"{valid}/a/2.webp", "test/b/3.gif", "train/a/notes.txt")
    folder = scan(tmp_path)
    assert folder.labels == ("a", "b")
    assert {name: len(split) for name, split in folder.splits.items()} == {"train": 2, "valid": 1, "test": 1}
    assert folder.split("test").targets == (1,)
    assert folder.split(valid).name == "valid"


def test_one_folder_is_split_by_class_and_seed(tmp_path: Path) -> None:
    make(tmp_path, *many("a", 20), *many("b", 40))
    folder = scan(tmp_path, valid_share=0.2, test_share=0.1)
    assert {name: len(split) for name, split in folder.splits.items()} == {"train": 42, "valid": 12, "test": 6}
    assert folder.splits["valid"].targets.count(0) == 4
    everything = [path for split in folder.splits.values() for path in split.images.paths]
    assert len(set(everything)) == 60
    assert scan(tmp_path, valid_share=0.2, test_share=0.1).splits == folder.splits
    assert scan(tmp_path, valid_share=0.2, test_share=0.1, split_seed=1).splits != folder.splits


def test_splitting_is_stable_when_another_class_grows(tmp_path: Path) -> None:
    make(tmp_path, *many("a", 20), *many("b", 20))
    before = [path for path in scan(tmp_path).splits["valid"].images.paths if path.parent.name == "a"]
    make(tmp_path, *many("b", 30))
    assert [path for path in scan(tmp_path).splits["valid"].images.paths if path.parent.name == "a"] == before


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_small_classes_keep_a_training_image(tmp_path: Path, count: int) -> None:
    make(tmp_path, *many("a", count), *many("b", 20))
    assert scan(tmp_path).splits["train"].targets.count(0) >= 1


def test_train_gives_up_a_share_when_there_is_no_validation_split(tmp_path: Path) -> None:
    make(tmp_path, *many("train/a", 20), *many("train/b", 20), "test/a/1.jpg")
    assert {name: len(split) for name, split in scan(tmp_path).splits.items()} == {"train": 34, "valid": 6, "test": 1}


def test_a_class_without_a_training_image_is_none_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "train/a/1.jpg", "train/c/1.jpg", "valid/c/1.jpg", "train/b/notes.txt")
    (tmp_path / "valid/b").mkdir()
    with caplog.at_level("INFO", logger="breedclf"):
        folder = scan(tmp_path)
    assert folder.labels == ("a", "c")
    assert folder.split("valid").targets == (1,)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: set aside: 'train/b', 'valid/b' (without images)"
    ]


def test_splits_in_other_words_and_folders_of_systems(tmp_path: Path) -> None:
    make(tmp_path, "Train/a/1.jpg", "Train/b/1.jpg", "Validation/a/1.jpg", "TEST/b/1.jpg", "runs/train/history.jsonl")
    make(
        tmp_path, "Train/a/@eaDir/1.jpg/THUMB_M.jpg", "Train/b/._1.jpg", "__MACOSX/Train/._a.jpg", "Train/lost+found/x"
    )
    folder = scan(tmp_path)
    assert folder.labels == ("a", "b")
    found = {
        name: [str(path.relative_to(tmp_path)) for path in split.images.paths] for name, split in folder.splits.items()
    }
    assert found == {
        "train": ["Train/a/1.jpg", "Train/b/1.jpg"],
        "valid": ["Validation/a/1.jpg"],
        "test": ["TEST/b/1.jpg"],
    }
    assert folder.split("Val").name == "valid"


def test_images_keep_their_order_so_that_a_seed_divides_as_before(tmp_path: Path) -> None:
    make(tmp_path, *many("a", 8), "a/b/1.jpg", "a/b-c/1.jpg", "a/b.jpg", "a/B/1.jpg", *many("b", 8))
    train, valid, test = (scan(tmp_path, split_seed=3).splits[name] for name in ("train", "valid", "test"))
    everything = sorted(path for path in tmp_path.rglob("*.jpg") if path.parent.name != "b" or path.parts[-3] == "a")
    left = [path for path in everything if path.relative_to(tmp_path).parts[0] == "a"]
    random.Random("3/a").shuffle(left)
    assert [path for path in valid.images.paths if path in left] == sorted(left[:2])
    assert [path for path in test.images.paths if path in left] == sorted(left[2:4])
    assert [path for path in train.images.paths if path in left] == sorted(left[4:])


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (("001.Affenpinscher", "004.Boston_terrier"), ("Affenpinscher", "Boston terrier")),
        (("n02085620-Chihuahua", "n02088364-beagle"), ("Chihuahua", "beagle")),
        (("1_cat", "2_dog"), ("cat", "dog")),
        (("0-cat", "1-dog"), ("cat", "dog")),
        (("3. cat", "7. dog"), ("cat", "dog")),
        (("12.cat", "40.dog"), ("cat", "dog")),
        (("001.Affenpinscher", "ants"), ("001.Affenpinscher", "ants")),
        (("001.Affenpinscher", "002-ants"), ("001.Affenpinscher", "002-ants")),
        (("001.Affenpinscher", "n02088364.beagle"), ("001.Affenpinscher", "n02088364.beagle")),
        (("13-19", "20-29"), ("13-19", "20-29")),
        (("01-05", "06-10"), ("01-05", "06-10")),
        (("911_Carrera", "718_Cayman"), ("911 Carrera", "718 Cayman")),
        (("911_Carrera", "Boxster"), ("911 Carrera", "Boxster")),
        (("24.5mm", "24.7mm"), ("24.5mm", "24.7mm")),
        (("747-400", "737-800"), ("747-400", "737-800")),
        (("1_year", "2_years", "3_years"), ("1 year", "2 years", "3 years")),
        (("2019_Accord", "2020_Civic"), ("2019 Accord", "2020 Civic")),
        (("1", "2"), ("1", "2")),
        ((), ()),
    ],
)
def test_a_number_goes_only_where_it_numbers_all_classes(labels: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert display_names(labels) == shown


def test_nested_folders_links_and_loops(tmp_path: Path) -> None:
    make(tmp_path, "train/a/deep/1.jpg", "train/b/1.jpg", "valid/a/1.jpg", "elsewhere/2.jpg", "train/a/.hidden/9.jpg")
    (tmp_path / "train/a/loop").symlink_to(tmp_path / "train/a")
    (tmp_path / "train/b/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train/b/up").symlink_to("..")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "train")
    assert [path.name for path in scan(tmp_path).split("train").images.paths] == ["1.jpg", "1.jpg", "2.jpg"]


def test_a_class_folder_that_links_to_its_own_parents_is_no_class(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "train/back").symlink_to(tmp_path / "train")
    (tmp_path / "train/up").symlink_to("..")
    (tmp_path / "train/linked").symlink_to(tmp_path / "elsewhere")
    folder = scan(tmp_path)
    assert folder.labels == ("a", "b", "linked")
    assert len(folder.split("train")) == 3


def test_a_fifo_is_no_image(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg")
    os.mkfifo(tmp_path / "train/a/pipe.jpg")
    assert len(scan(tmp_path).split("train")) == 2


def test_display_names() -> None:
    assert display_names(["Boston_terrier", "ants"]) == ("Boston terrier", "ants")
    assert display_names(["Boston_terrier", "Boston terrier"]) == ("Boston_terrier", "Boston terrier")
    assert display_names(["001.Dog", "002.Dog", "3"]) == ("001.Dog", "002.Dog", "3")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/notes.txt", "valid/a/1.jpg"], "no training images"),
        (["train/a/1.jpg", "valid/a/1.jpg"], "only one class, 'a'"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg"],
            "the test split .* has classes that train doesn't have: 'c'",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, names: list[str], message: str) -> None:
    make(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        scan(tmp_path)


def test_missing_folder_and_missing_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder that holds train/"):
        scan(tmp_path / "nothing")
    make(tmp_path, "file", "train/a/1.jpg", "train/b/1.jpg", "valid/b/1.jpg")
    with pytest.raises(DataError, match="is not a folder"):
        scan(tmp_path / "file")
    with pytest.raises(DataError, match=r"no 'test' split with images; splits with images: train, valid"):
        scan(tmp_path).split("test")
