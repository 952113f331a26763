"""`breedclf data check` on the command line, and training on the same hostile folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from breedclf import Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.errors import ImageError
from tests.hostile_images import bomb, photo, write
from tests.integration.conftest import QUICK

BROKEN = {
    "train/001.Lying/150 bytes.jpg": ("truncated", photo((400, 300))[:150]),
    "train/001.Lying/text.jpg": ("unreadable", b"this is not an image\n"),
    "train/002.Standing/empty.jpg": ("unreadable", b""),
    "valid/002.Standing/bomb.png": ("too_large", bomb()),
}


@pytest.fixture
def hostile(patterns: Path) -> Path:
    """Two good classes among files that training has to survive."""
    for name, (_, content) in BROKEN.items():
        (patterns / name).write_bytes(content)
    write(patterns / "train/001.Lying/žluť a b.jpg", size=(96, 96))
    write(patterns / "train/001.Lying/really_png.jpg", size=(96, 96), form="PNG")
    write(patterns / "train/001.Lying/moving.gif", size=(96, 96), form="GIF")
    (patterns / "train/000.Empty").mkdir()
    (patterns / "train/001.Lying/loop").symlink_to("..")
    os.mkfifo(patterns / "train/001.Lying/pipe.jpg")
    return patterns


def test_json_lists_every_problem_and_the_exit_code_is_1(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["data", "check", str(hostile), "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        found = {problem["path"]: problem["kind"] for problem in document["problems"]}
        assert found == {name: kind for name, (kind, _) in BROKEN.items()} | {
            "train/001.Lying/really_png.jpg": "mislabelled_type",
            "train/001.Lying/loop": "link_loop",
            "train/001.Lying/pipe.jpg": "not_a_file",
            "train/000.Empty": "empty_class",
        }
        assert all(set(problem) == {"kind", "path", "detail"} for problem in document["problems"])
        assert document["splits"] == {"train": 22, "valid": 9, "test": 8}
        assert document["classes"]["000.Empty"] == {"train": 0, "valid": 0, "test": 0}
    assert (document["remembered"], document["pictures"]) == (39, 39)


def test_people_read_kinds_counts_and_what_to_do(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(hostile), "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "unreadable images (unreadable): 2\n  Remove or replace them, or train with" in captured.out
    assert "train/001.Lying/text.jpg: it can't be decoded" in captured.out
    assert captured.out.splitlines()[-1].startswith(f"8 problems in {hostile} (39 images in ")


def test_a_clean_folder_ends_with_0(patterns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(patterns), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    assert main(["data", "check", str(patterns), "--fresh"]) == 0
    assert "no problems in" in capsys.readouterr().out


def test_what_is_no_folder_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 3
    captured = capsys.readouterr()
    assert "nowhere does not exist; give the folder that holds train/" in captured.err
    assert captured.out == ""


def test_a_misspelt_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["data", "check", "dogs", "--jsno"])
    assert left.value.code == 2
    assert "unknown argument --jsno: did you mean --json?" in capsys.readouterr().err


def test_training_skips_what_the_check_calls_unreadable(hostile: Path, tmp_path: Path) -> None:
    config = TrainingConfig(data=hostile, output=tmp_path / "out", epochs=1, on_bad_image="skip", **QUICK)
    result = Trainer(config).fit()
    assert {reason.split(" can't")[0] for reason in result.skipped} == {str(hostile / name) for name in BROKEN}
    assert result.classifier.card.labels == ("001.Lying", "002.Standing")


def test_an_error_of_training_points_to_the_check(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"can't be .*; remove the \w+.*\(breedclf data check DIR lists all"):
        Trainer(TrainingConfig(data=hostile, output=tmp_path / "out", **QUICK)).fit()
