"""Broken and odd files among the images, as somebody at the command line meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from breedclf.cli import main
from breedclf.testing.images import HostileImages, write_hostile_images, write_image_set

QUICK = ["--architecture", "shufflenet_v2_x0_5", "--weights", "none", "--epochs", "1", "--chunk-size", "8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[HostileImages]]:
    """A good image set with hostile files in a class of train and in one of valid."""
    root = write_image_set(tmp_path_factory.mktemp("hostile") / "set", classes=2, train=4, valid=2, test=1, size_px=64)
    places = [root / "train" / "001.Stripes", root / "valid" / "002.Checkers"]
    return root, [write_hostile_images(place) for place in places]


@pytest.fixture(scope="module")
def model(data: tuple[Path, list[HostileImages]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model")
    assert main(["train", str(data[0]), *QUICK, "--on-bad-image", "skip", "--output", str(output)]) == 0
    return output / "model"


def test_training_stops_at_a_broken_image_names_it_and_says_what_to_do(
    data: tuple[Path, list[HostileImages]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, (in_train, _) = data
    assert main(["train", str(root), *QUICK, "--output", str(tmp_path / "out")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (message,) = [line for line in captured.err.splitlines() if line.startswith("breedclf: ")]
    assert any(f"breedclf: {path} can't be decoded" in message for path in in_train.broken)
    assert "--on-bad-image skip" in message
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out" / "model").exists()


def test_skipping_counts_and_names_the_broken_ones_and_reads_the_odd_ones(
    data: tuple[Path, list[HostileImages]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, hostile = data
    arguments = ["train", str(root), *QUICK, "--on-bad-image", "skip", "--workers", "1", "--json"]
    assert main([*arguments, "--cache-dir", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    named = {reason.split(" can't be ")[0] for reason in json.loads(captured.out)["skipped"]}
    assert named == {str(path) for kind in hostile for path in kind.broken}
    assert "12 unreadable images were skipped:" in captured.err


def test_prediction_names_every_odd_image_and_refuses_every_broken_one(
    data: tuple[Path, list[HostileImages]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = data[1][0]
    capsys.readouterr()
    assert main(["predict", str(model), *map(str, [*hostile.broken, *hostile.odd]), "--json"]) == 3
    captured = capsys.readouterr()
    answers = {answer["path"]: answer for answer in json.loads(captured.out)}
    for path in hostile.odd:
        assert {guess["class_name"] for guess in answers[str(path)]["predictions"]} == {"Stripes", "Checkers"}
    for path in hostile.broken:
        assert answers[str(path)]["error"].startswith(f"{path} can't be decoded")
        assert f"breedclf: {path} can't be decoded" in captured.err
    assert main(["predict", str(model), *map(str, hostile.odd)]) == 0


def test_a_url_is_refused_whole_with_what_to_do(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    url = "https://example.org/dogs/1.jpg?size=large"
    assert main(["predict", str(model), url]) == 3
    captured = capsys.readouterr()
    assert f"breedclf: {url} can't be read: it is a URL, not a file; download it first" in captured.err


def test_half_a_jpeg_with_an_end_marker_stops_a_training_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_image_set(tmp_path / "set", classes=2, train=3, valid=1, test=0, size_px=64)
    half = root / "train" / "001.Stripes" / "half.jpg"
    whole = (root / "train" / "001.Stripes" / "0001.jpg").read_bytes()
    scan = whole.index(b"\xff\xda")
    half.write_bytes(whole[: (scan + len(whole)) // 2] + b"\xff\xd9")
    arguments = ["train", str(root), *QUICK, "--output", str(tmp_path / "out"), "--json"]
    assert main(arguments) == 3
    assert f"breedclf: {half} can't be decoded as JPEG: it is truncated" in capsys.readouterr().err
    assert main([*arguments, "--on-bad-image", "skip"]) == 0
    captured = capsys.readouterr()
    (skipped,) = json.loads(captured.out)["skipped"]
    assert skipped.startswith(f"{half} can't be decoded as JPEG")
