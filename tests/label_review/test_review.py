"""Reviews of small image folders as people start them: what they find, refuse and write."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf import Review, Trainer, TrainingConfig, from_arrays, review
from breedclf.cli import main
from breedclf.errors import BreedclfError, ConfigError, DataError
from breedclf.label_review.text import as_text
from breedclf.testing.pages import read_page
from tests.integration.conftest import write_patterns

NETWORK = {"architecture": "resnet18", "weights": "none"}
WRONG = "train/001.Lying/standing.png"
TWIN = "test/002.Standing/twin.png"


def config_of(data: Path, cache: Path) -> TrainingConfig:
    return TrainingConfig(data=data, cache_dir=cache, **NETWORK)


def reviewed_at(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    code = main(["data", "review", *command, "--architecture", "resnet18", "--weights", "none", "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """The time and the content of every file and folder."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in (folder, *sorted(folder.rglob("*")))
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes with one image in the wrong folder, and a copy of a training image among the test images."""
    root = write_patterns(tmp_path_factory.mktemp("review") / "images", counts={"train": 16, "valid": 6, "test": 6})
    (root / "train/002.Standing/3.png").rename(root / WRONG)
    shutil.copy(root / "train/002.Standing/4.png", root / TWIN)
    return root


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Review:
    return review(config_of(data, tmp_path_factory.mktemp("cache")))


def test_one_of_a_kind_is_counted_in_the_singular(found: Review) -> None:
    text = as_text(replace(found, near_duplicates=found.near_duplicates[:1], skipped=("a.png: empty",)))
    assert "\n1 group of near duplicates, " in text
    assert "\n1 image can't be read: a.png: empty" in text
    assert "\n2 groups of near duplicates, " in as_text(replace(found, near_duplicates=found.near_duplicates[:1] * 2))


def test_the_image_in_the_wrong_folder_is_the_first_suspect(found: Review) -> None:
    assert found.refused is None
    first = found.suspects[0]
    assert (first.path, first.split, first.given, first.proposed) == (WRONG, "train", "001.Lying", "002.Standing")
    assert [each.class_name for each in first.neighbours] == ["002.Standing"] * 3
    assert found.expected_precision is not None
    assert not found.clean


def test_a_copy_in_another_split_is_a_near_duplicate(found: Review) -> None:
    near = next(each for each in found.near_duplicates if TWIN in each.paths)
    assert "train/002.Standing/4.png" in near.paths
    assert near.across_splits
    assert near.similarity == pytest.approx(1, abs=1e-3)
    assert found.twin_effect is not None
    assert found.twin_effect.count == 13
    assert found.twin_effect.apart < 13


def test_the_report_has_suspects_and_twins(found: Review, tmp_path: Path) -> None:
    found.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert read_page(text) is not None
    for words in ("001.Lying → 002.Standing", WRONG, TWIN, "How to read this"):
        assert words in text
    assert len(text) < 2_000_000


def test_apply_writes_a_folder_that_trains_and_leaves_the_reviewed_one_alone(
    found: Review, data: Path, tmp_path: Path
) -> None:
    before = snapshot(data)
    (tmp_path / "moves.csv").write_text(
        f"path,given,action,to\n{WRONG},001.Lying,move,002.Standing\n{TWIN},002.Standing,drop,\n", encoding="utf-8"
    )
    new = found.apply(tmp_path / "new", tmp_path / "moves.csv")
    assert snapshot(data) == before
    assert (new / "train/002.Standing/standing.png").resolve() == (data / WRONG).resolve()
    assert not (new / WRONG).exists()
    assert not (new / TWIN).exists()
    assert sum(path.is_symlink() for path in new.rglob("*")) == len(found.images.split) - 1
    config = TrainingConfig(data=new, output=tmp_path / "out", cache_dir=tmp_path / "cache", epochs=1, **NETWORK)
    assert Trainer(config).fit().history


ROWS: list[tuple[str, str]] = [
    (f"{WRONG},001.Lying,move,003.Bent", "no class"),
    (f"{WRONG},001.Lying,move,002.standing", "did you mean '002.Standing'"),
    (f"{WRONG},002.Standing,move,001.Lying", "is of class '001.Lying' now"),
    (f"{WRONG},001.Lying,delete,", "unknown action 'delete'"),
    ("../../etc/passwd,001.Lying,drop,", "is no image of this review"),
    ("/etc/passwd,001.Lying,drop,", "is no image of this review"),
    (f"{WRONG},001.Lying,drop,\n{WRONG},001.Lying,keep,", "earlier row"),
    (f"{WRONG},001.Lying", "has no 'action'"),
]


@pytest.mark.parametrize(("rows", "message"), ROWS, ids=[f"row-{at}" for at in range(len(ROWS))])
def test_moves_that_can_not_be_applied_are_refused(found: Review, tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "moves.csv").write_text(f"path,given,action,to\n{rows}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        found.apply(tmp_path / "new", tmp_path / "moves.csv")
    assert not (tmp_path / "new").exists()


def test_a_class_that_loses_its_training_images_is_refused(found: Review, tmp_path: Path) -> None:
    lying = [found.images.path(row) for row in range(len(found.images.split))]
    rows = [f"{path},001.Lying,drop," for path in lying if path.startswith("train/001.Lying")]
    (tmp_path / "moves.csv").write_text("\n".join(["path,given,action,to", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"no training image of '?001\.Lying'? would be left"):
        found.apply(tmp_path / "new", tmp_path / "moves.csv")


def test_a_folder_with_content_or_inside_the_reviewed_one_is_refused(found: Review, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="isn't an empty folder"):
        found.apply(tmp_path)
    with pytest.raises(ConfigError, match="choose one outside"):
        found.apply(data / "new")


def test_names_that_collide_get_a_number(tmp_path: Path) -> None:
    root = write_patterns(tmp_path / "images", counts={"train": 5})
    (root / "train/001.Lying/a b;'ü.png").write_bytes((root / "train/001.Lying/0.png").read_bytes())
    (root / "train/002.Standing/A B;'ü.PNG").write_bytes((root / "train/002.Standing/0.png").read_bytes())
    found = review(config_of(root, tmp_path / "cache").replace(valid_share=0.2))
    path = next(path for path in map(found.images.path, range(len(found.images.split))) if path.endswith("PNG"))
    (tmp_path / "moves.csv").write_text(f'path,given,action,to\n"{path}",,move,001.Lying\n', encoding="utf-8")
    new = found.apply(tmp_path / "new", tmp_path / "moves.csv")
    names = sorted(each.name.casefold() for each in new.rglob("001.Lying/*"))
    assert len(names) == 7
    assert sum("ü" in name for name in names) == 2


def test_the_command_writes_its_files_and_keeps_edited_moves(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(data), "--output", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    code, document = reviewed_at(command, capsys)
    assert code == 1
    assert {"suspects", "near_duplicates", "outliers", "expected_precision", "refused"} <= document.keys()
    assert document == json.loads((tmp_path / "out/review.json").read_text(encoding="utf-8"))
    edited = f"path,given,action,to\n{WRONG},001.Lying,drop,\n"
    (tmp_path / "out/moves.csv").write_text(edited, encoding="utf-8")
    code, document = reviewed_at([*command, "--apply", str(tmp_path / "new")], capsys)
    assert document["features"] == {"computed": 0, "reused": 57}
    assert (tmp_path / "out/moves.csv").read_text(encoding="utf-8") == edited
    assert not list((tmp_path / "new").rglob("standing.png"))


def mixed(root: Path) -> None:
    """Stripes of both directions in both folders."""
    write_patterns(root, counts={"train": 12, "valid": 2})
    for split, number in [*(("train", number) for number in range(6)), ("valid", 0)]:
        lying, standing = (root / split / label / f"{number}.png" for label in ("001.Lying", "002.Standing"))
        lying.rename(standing.with_name(f"lying-{number}.png"))
        standing.rename(lying)


def equal(root: Path) -> None:
    for number in range(12):
        folder = root / ("ant", "bee")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (90, 90, 90)).save(folder / f"{number}.png")


def singles(root: Path) -> None:
    write_patterns(root, counts={"train": 1, "valid": 1})
    for label, name in (("003.Third", "3"), ("004.Fourth", "4")):
        (root / "train" / label).mkdir()
        Image.new("RGB", (64, 64), (0, 0, 60 * int(name))).save(root / "train" / label / "0.png")


@pytest.mark.parametrize(
    ("write", "reason"),
    [(mixed, "labeled|single image"), (equal, "labeled|single image"), (singles, "labeled|single image")],
    ids=["mixed", "equal", "singles"],
)
def test_labels_that_can_not_be_judged_are_not_reviewed(
    write: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "images")
    found = review(config_of(tmp_path / "images", tmp_path / "cache"))
    assert found.refused is not None
    assert any(part in found.refused for part in reason.split("|"))
    assert not found.suspects
    assert found.expected_precision is None
    found.report(tmp_path / "report.html")


def test_unreadable_images_are_left_out_with_the_reason(tmp_path: Path) -> None:
    root = write_patterns(tmp_path / "images")
    (root / "train/001.Lying/broken.png").write_bytes(b"no image")
    found = review(config_of(root, tmp_path / "cache"))
    assert found.count == 32
    assert "broken.png" in found.skipped[0]


def one_class(root: Path) -> None:
    shutil.rmtree(write_patterns(root, counts={"train": 4}) / "train/002.Standing")


def flat(root: Path) -> None:
    root.mkdir()
    Image.new("RGB", (64, 64)).save(root / "a.png")


@pytest.mark.parametrize("write", [one_class, flat, Path.mkdir], ids=["one-class", "unlabeled", "empty"])
def test_folders_without_classes_are_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "images")
    with pytest.raises(BreedclfError) as error:
        review(config_of(tmp_path / "images", tmp_path / "cache"))
    assert error.value.exit_code == 3
    assert "images" in str(error.value)


def test_images_of_a_program_are_reviewed(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 60, (24, 64, 64, 3), np.uint8)
    pixels[1::2] += 150
    found = review(TrainingConfig(cache_dir=tmp_path, **NETWORK), images=from_arrays(pixels, ["dark", "light"] * 12))
    assert found.count == 24
    with pytest.raises(ConfigError, match="images of a program"):
        found.apply(tmp_path / "new")


def test_shares_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="min_accuracy=70: choose a number from 0 to 1"):
        review(config_of(tmp_path, tmp_path), min_accuracy=70)
