"""The demo passes on its own images, fails where there is nothing to learn, and leaves no process behind."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from breedclf import Categorical, Classifier
from breedclf.cli import main
from breedclf.demo import DemoConfig, journey_settings, required_accuracy
from breedclf.journey.settings import STEPS
from breedclf.testing.images import write_image_set
from breedclf.tuning.space import size as grid_size
from tests.backends.conftest import processes_of

RANDOM = ["--weights", "none", "--no-verify"]
COMMAND = [sys.executable, "-m", "breedclf"]


@pytest.mark.slow
def test_it_passes_on_its_own_images_and_says_where_everything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", *RANDOM, "--train-images", "10", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert shown["accuracy"] >= shown["required_accuracy"] == pytest.approx(0.6)
    assert shown["accuracy_interval"][0] <= shown["accuracy"] <= shown["accuracy_interval"][1]
    assert (shown["classes"], shown["count"], shown["weights"]) == (5, 100, "none")
    assert shown["epochs"] in (10, 20)
    assert {each["name"]: each["status"] for each in shown["steps"]} == {
        step: "Skipped" if step == "backbones" else "Completed" for step in STEPS
    }
    for page in ("report", "page"):
        assert Path(shown[page]).read_text().startswith("<!doctype html>")
    answer = Classifier(shown["artifact"]).predict(shown["shown"]["path"])
    assert answer.top(1)[0].label == shown["shown"]["predictions"][0]["label"]

    url = shown["endpoint"]["url"]
    assert url.startswith("http://127.0.0.1:")
    assert f"in service at {url}" in captured.err, "it can be opened while the demo runs"
    assert not shown["endpoint"]["in_service"]
    assert not answers(url)

    assert main(arguments) == 0, "a second run takes only the steps that end with a run"
    captured = capsys.readouterr()
    assert "using the images in" in captured.err
    assert "done by an earlier run: check, backbones, tune, best" in captured.err
    assert "tune:" not in captured.err
    assert f"test accuracy {shown['accuracy']:.1%} on 100 images of 5 classes" in captured.out
    assert f"page:     {shown['page']}" in captured.out


@pytest.mark.slow
def test_an_interrupt_while_the_endpoint_is_in_service_leaves_nothing_running(tmp_path: Path) -> None:
    arguments = ["demo", *RANDOM, "--train-images", "4", "--epochs", "5", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "BREEDCLF_HOME": str(tmp_path / "home")}
    with subprocess.Popen([*COMMAND, *arguments], env=environment, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        url = next(found[1] for line in demo.stderr if (found := re.search(r"in service at (http://[\d.]+:\d+)", line)))
        assert answers(url)
        started = processes_of(tmp_path)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    assert len(started) > 1, "the endpoint has its own processes"
    assert psutil.wait_procs(started, timeout=20)[1] == []
    assert not answers(url)


@pytest.mark.slow
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
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights here"))
    settings = journey_settings(DemoConfig(download_seconds=0.001, output=tmp_path), tmp_path)
    assert "continuing with random weights: pretrained weights can't be downloaded from https://" in caplog.text
    assert (settings.training.architecture, settings.training.weights) == ("resnet18", "none")
    assert grid_size(settings.space) == 4
    assert settings.confirm_seeds is None, "the journey decides; with random weights, it runs no other seeds"


def test_pretrained_weights_are_searched_as_in_a_journey(tmp_path: Path) -> None:
    settings = journey_settings(DemoConfig(weights="resnet50.pth", data=tmp_path, output=tmp_path), tmp_path)
    assert (settings.training.architecture, settings.training.weights) == ("resnet50", "resnet50.pth")
    assert grid_size(settings.space) == 12
    once = journey_settings(DemoConfig(weights="resnet50.pth", epochs=1, output=tmp_path), tmp_path)
    assert once.space["epochs"] == Categorical(1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--epochs", "0"], 2, "epochs='0': input should be greater than or equal to 1"),
        (["--architecture", "vgg"], 2, "architecture"),
        (["--data", "nowhere", *RANDOM], 3, "data folder nowhere does not exist"),
        (["--weights", "nowhere.pth"], 3, "weights='nowhere.pth' is neither IMAGENET1K_V1"),
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


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def shuffle_labels(root: Path) -> None:
    """Give every picture of each split the label of another one at random."""
    for split in root.iterdir():
        places = sorted(split.rglob("*.jpg"))
        contents = [path.read_bytes() for path in places]
        random.Random(0).shuffle(contents)
        for path, content in zip(places, contents, strict=True):
            path.write_bytes(content)
