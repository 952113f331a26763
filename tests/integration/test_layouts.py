"""Layouts that people really have, through the commands: what is trained, measured, checked and refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from breedclf import InlineBackend, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.data.layout.disk import OUTPUT_MARKER
from breedclf.errors import DataError
from breedclf.inference.model_directory import read_card
from breedclf.training.fit import fit
from breedclf.training.lr_finder import find_learning_rate
from tests.hostile_images import write
from tests.integration.conftest import QUICK, write_patterns

FLAGS = ["--architecture", "shufflenet_v2_x0_5", "--weights", "none", "--epochs", "1", "--chunk-size", "8", "--json"]


def images(root: Path, *folders: str, count: int = 4) -> Path:
    for folder in folders:
        for number in range(count):
            write(root / folder / f"{number}.jpg")
    return root


def trained_labels(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert main(["train", *words, *FLAGS]) == 0
    artifact = Path(json.loads(capsys.readouterr().out)["artifact"])
    return list(json.loads((artifact / "breedclf.json").read_text(encoding="utf-8"))["labels"])


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 3
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def checked(capsys: pytest.CaptureFixture[str], data: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["data", "check", str(data), "--json"]) in (0, 1)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_outputs_among_the_images_never_become_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images(tmp_path / "photos", "ants", "bees")
    monkeypatch.chdir(data)
    assert trained_labels(capsys, ".") == ["ants", "bees"]
    assert (data / "runs").is_dir(), "the default output is among the images"
    assert trained_labels(capsys, ".", "--output", ".") == ["ants", "bees"]
    assert not (data / OUTPUT_MARKER).exists(), "a folder of images isn't marked as an output"
    assert trained_labels(capsys, ".", "--output", "ants/out") == ["ants", "bees"]
    images(data, "ants/out/drawn", "runs/train/drawn")
    assert trained_labels(capsys, str(data), "--output", str(data / "ants/out")) == ["ants", "bees"]
    assert checked(capsys, data)["splits"] == {"all": 8}
    assert main(["evaluate", "model", ".", "--split", "all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 8
    assert trained_labels(capsys, str(data), "--output", str(tmp_path)) == ["ants", "bees"]


def test_a_refused_folder_is_left_without_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = images(tmp_path / "photos", "ants")
    assert "only one class, 'ants'" in refusal(capsys, "train", str(data), "--output", str(data / "out"), *FLAGS)
    assert [path.name for path in data.iterdir()] == ["ants"]


def test_images_of_a_demo_are_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from breedclf.data.image_folder import scan
    from breedclf.demo import DemoConfig, _drawn_images

    images(tmp_path, "ants", "bees")
    monkeypatch.chdir(tmp_path)
    _drawn_images(DemoConfig(output=Path("demo"), train_pictures=2))
    assert scan(tmp_path).labels == ("ants", "bees")


def test_classes_called_train_and_test_are_trained_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for classes in (["bus", "car", "train"], ["control", "test"]):
        data, output = images(tmp_path / classes[0], *classes), tmp_path / f"{classes[0]}-out"
        assert trained_labels(capsys, str(data), "--output", str(output)) == classes
        assert main(["evaluate", str(output / "model"), str(data), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["count"] == len(classes)
        assert sorted(checked(capsys, data)["classes"]) == classes


def test_splits_in_other_words_are_splits_for_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_patterns(tmp_path / "data")
    for name, other in (("train", "Training"), ("valid", "Val"), ("test", "TEST")):
        (data / name).rename(data / other)
    labels = ["001.Lying", "002.Standing"]
    output = tmp_path / "out"
    assert trained_labels(capsys, str(data), "--output", str(output)) == labels
    assert main(["evaluate", str(output / "model"), str(data), "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 8
    assert checked(capsys, data)["splits"] == {"train": 16, "valid": 8, "test": 8}
    config = TrainingConfig(data=data, output=tmp_path / "job", epochs=1, **QUICK)
    job = Trainer(config, backend=InlineBackend(tmp_path / "home")).submit()
    assert job.wait().status == "Completed"
    assert list(read_card(job.artifact).labels) == labels
    assert len(find_learning_rate(config, steps=10).losses) > 0


def test_a_folder_too_far_up_is_refused_with_the_right_one(
    trained: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outer = tmp_path / "dogs"
    outer.mkdir()
    (outer / "dogs").symlink_to(trained[1], target_is_directory=True)
    says = "dogs/ holds a train/ folder: give dogs/ instead"
    assert says in refusal(capsys, "train", str(outer), "--output", str(tmp_path / "out"), *FLAGS)
    assert says in refusal(capsys, "evaluate", str(trained[0].artifact), str(outer))
    assert says in refusal(capsys, "tune", str(outer), "--learning-rate", "0.1,0.2", "--output", str(tmp_path / "out"))
    assert says in checked(capsys, outer)["problems"][0]["detail"]


def test_images_in_no_class_folder_are_told(
    trained: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = images(tmp_path / "kaggle", "train/001.Lying", "train/002.Standing", "test")
    says = "'test' (images outside a class folder)"
    assert says in refusal(capsys, "evaluate", str(trained[0].artifact), str(data))
    assert any(says in note for note in checked(capsys, data)["notes"])
    flat = images(tmp_path / "flat", "train", "test")
    says = "'test', 'train' contain images instead of class folders"
    assert says in refusal(capsys, "train", str(flat), "--output", str(tmp_path / "out"), *FLAGS)
    assert says in refusal(capsys, "evaluate", str(trained[0].artifact), str(flat))
    assert checked(capsys, flat)["problems"][0]["kind"] == "unclear_layout"


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_class_name_that_is_no_text_is_refused_before_anything_is_made(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9")
    try:
        data = images(tmp_path / "data", f"{prefix}ants", f"{prefix}{name}")
    except OSError:
        pytest.skip("this file system takes no such names")
    error = refusal(capsys, "train", str(data), "--output", str(tmp_path / "out"), *FLAGS)
    assert r"'caf\udce9' isn't valid UTF-8" in error
    assert "rename" in error
    assert not (tmp_path / "out").exists()
    found = checked(capsys, data)["problems"]
    assert [problem["kind"] for problem in found if "valid UTF-8" in problem["detail"]] == ["name_not_utf8"]


def test_a_class_whose_images_are_all_skipped_is_refused_by_name(tmp_path: Path) -> None:
    data = images(tmp_path / "data", "train/a", "train/b", "valid/a")
    for path in (data / "train/b").iterdir():
        path.write_bytes(b"no image")
    config = TrainingConfig(data=data, output=tmp_path / "out", epochs=1, on_bad_image="skip", **QUICK)
    with pytest.raises(DataError, match="no training image of 'b' can be read"):
        fit(config)
