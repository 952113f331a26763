"""The demonstration passes on its own pictures, and fails where there is nothing to learn."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from breedclf import Classifier
from breedclf.cli import main
from breedclf.demo import required_accuracy
from breedclf.testing.images import write_image_set

RANDOM = ["--weights", "none"]


@pytest.mark.slow
def test_it_passes_on_its_own_images_and_says_where_everything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", *RANDOM, "--train-images", "10", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["accuracy"] >= shown["required_accuracy"] == pytest.approx(0.6)
    assert shown["accuracy_interval"][0] <= shown["accuracy"] <= shown["accuracy_interval"][1]
    assert (shown["classes"], shown["count"], shown["weights"]) == (5, 100, "none")
    assert Path(shown["report"]).read_text().startswith("<!doctype html>")
    answer = Classifier(shown["artifact"]).predict(shown["shown"]["path"])
    assert answer.top(1)[0].label == shown["shown"]["predictions"][0]["label"]

    assert main(arguments) == 0, "a second run uses the same images and features"
    captured = capsys.readouterr()
    assert "using the images in" in captured.err
    assert f"test accuracy {shown['accuracy']:.1%} on 100 images of 5 classes" in captured.out
    assert f"report: {shown['report']}" in captured.out


def test_it_fails_where_the_labels_are_shuffled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_image_set(tmp_path / "set", train=6, valid=2, test=8, size_px=64)
    shuffle_labels(root)
    arguments = ["demo", *RANDOM, "--epochs", "5", "--data", str(root), "--output", str(tmp_path / "out"), "--json"]
    assert main(arguments) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the demo failed: test accuracy" in captured.err
    assert "on 40 images is below the required 60.0%" in captured.err
    assert str(tmp_path / "out" / "evaluation" / "report.html") in captured.err


def test_without_a_connection_it_continues_with_random_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights here"))
    root = write_image_set(tmp_path / "set", classes=2, train=4, valid=2, test=4, size_px=64)
    arguments = ["demo", "--data", str(root), "--download-seconds", "0.001", "--output", str(tmp_path / "out")]
    main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert "continuing with random weights: pretrained weights can't be downloaded from https://" in captured.err
    assert "training resnet18 on 8 images" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--epochs", "0"], 2, "epochs='0': input should be greater than or equal to 1"),
        (["--architecture", "vgg"], 2, "architecture"),
        (["--data", "nowhere", *RANDOM], 3, "data folder nowhere does not exist"),
        (["--weights", "nowhere.pth"], 3, "weights file nowhere.pth does not exist"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(["demo", "--output", str(tmp_path), "--train-images", "2", *arguments]) == code
    assert message in capsys.readouterr().err


def test_the_standard_is_three_times_chance_or_halfway_to_one() -> None:
    assert required_accuracy(2) == 0.75
    assert all(1 / n < required_accuracy(n) < 1 for n in range(2, 200))
    assert all(required_accuracy(n) == 3 / n for n in range(4, 200))


def shuffle_labels(root: Path) -> None:
    """Give every picture of each split the label of another one at random."""
    for split in root.iterdir():
        places = sorted(split.rglob("*.jpg"))
        contents = [path.read_bytes() for path in places]
        random.Random(0).shuffle(contents)
        for path, content in zip(places, contents, strict=True):
            path.write_bytes(content)
