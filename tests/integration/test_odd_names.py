"""Class folders and files with names that few would choose: they train, and are reported without harm or loss."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from breedclf import Classifier, TrainingConfig
from breedclf.api.trainer import Trainer
from breedclf.api.transform import transform
from breedclf.backends.inline import InlineBackend
from breedclf.inference.model_directory import read_card
from tests.integration.conftest import RESNET, write_patterns

NOT_UTF_8 = os.fsdecode(b"caf\xe9-")
CLASSES = {"001.Lying": "001.ants 🐜", "002.Standing": "002.be\x1b[2Jes"}
LIMIT_SECONDS = 300

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS' file systems hold UTF-8 only")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in a folder, in files and in classes with such names; one of them can't be read."""
    root = write_patterns(tmp_path_factory.mktemp("odd") / NOT_UTF_8, counts={"train": 4, "valid": 2, "test": 2})
    for folder in list(root.glob("*/*")):
        for file in list(folder.iterdir()):
            file.rename(folder / (NOT_UTF_8 + file.name))
        folder.rename(folder.with_name(CLASSES[folder.name]))
    (root / "train" / CLASSES["001.Lying"] / f"{NOT_UTF_8}broken\x1b[31m.png").write_bytes(b"no image")
    return root


def breedclf(*words: str | Path, cwd: Path, encoding: str = "ascii") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "breedclf", *map(str, words)],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=LIMIT_SECONDS,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output of a training run by the command line, and its messages."""
    folder = tmp_path_factory.mktemp("trained")
    settings = ["--architecture=resnet18", "--weights=none", "--epochs=1", "--on-bad-image=skip", "--output=out"]
    done = breedclf("train", data, *settings, "--log-to=tensorboard", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stderr.decode("ascii")


def test_it_trains_and_tells_a_person_what_matters(trained: tuple[Path, str]) -> None:
    output, told = trained
    assert r"caf\xe9-broken\x1b[31m.png can't be decoded" in told
    assert "epoch 1/1  train loss" in told
    assert "breedclf-metrics" not in told
    assert "logging failed" not in told
    card = read_card(output / "model")
    assert list(card.labels) == list(CLASSES.values())
    assert card.training["data"].endswith(r"caf\xe9-")
    assert json.loads((output / "config.json").read_text(encoding="utf-8"))["data"].endswith("caf\udce9-")
    (output / "profile" / "profile.json").read_text(encoding="utf-8")


def test_it_is_evaluated_and_the_page_shows_the_wrong_ones(trained: tuple[Path, str], data: Path) -> None:
    output, _ = trained
    done = breedclf("evaluate", output / "model", data, "--split", "all", "--on-bad-image=skip", cwd=output)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((output / "evaluation-all" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["count"] == 16
    assert r"caf\xe9-broken" in metrics["skipped"][0]
    page = (output / "evaluation-all" / "report.html").read_text(encoding="utf-8")
    assert len(metrics["worst"]) == page.count("data:image/jpeg")
    assert all(r"/caf\xe9-" in wrong["path"] for wrong in metrics["worst"])


@pytest.mark.parametrize("encoding", ["latin-1", pytest.param("utf-8", marks=pytest.mark.slow)])
def test_all_answers_are_printed_in_any_encoding(trained: tuple[Path, str], data: Path, encoding: str) -> None:
    output, _ = trained
    images = sorted((data / "test").rglob("*.png"))
    done = breedclf("predict", output / "model", *images, cwd=output, encoding=encoding)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert text.count(r"caf\xe9-") == 2 * len(images) == 8, "the folder and the file of each"
    assert text.count(r"be\x1b[2Jes") == 4 + 2, "as a class of each answer, and in half of the paths"
    assert ("ants 🐜" if encoding == "utf-8" else r"ants \U0001f41c") in text
    answers = json.loads(breedclf("predict", output / "model", images[0], "--json", cwd=output).stdout)
    assert answers[0]["predictions"][0]["label"] in CLASSES.values()


class Asked:
    """A model in this process, asked as an endpoint is."""

    def __init__(self, model: Path) -> None:
        self.classifier = Classifier(model)
        self.count = 0

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def predict_many(self, paths: list[Path], *, concurrency: int, on_error: str) -> list[object]:
        assert (concurrency, on_error) == (1, "return")
        self.count += len(paths)
        return [self.classifier.predict(path) for path in paths]


def run(asked: Asked, model: Path, folder: Path, output: Path) -> list[dict[str, object]]:
    result = transform(lambda: asked, model, folder, output, top=1, concurrency=1, progress=None)  # type: ignore[arg-type,return-value]
    return [json.loads(line) for line in result.predictions.read_bytes().split(b"\n") if line]


def test_a_batch_prediction_keeps_every_name(trained: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    model, asked = trained[0] / "model", Asked(trained[0] / "model")
    lines = run(asked, model, data / "test", tmp_path)
    assert [str(line["path"]).partition("/")[2] for line in lines] == [rf"caf\xe9-{i}.png" for i in (0, 1)] * 2
    table = list(csv.reader((tmp_path / "predictions.csv").read_text(encoding="utf-8").split("\n")[:-1]))
    assert [row[0] for row in table[1:]] == [line["path"] for line in lines]
    assert run(asked, model, data / "test", tmp_path) == lines
    assert asked.count == 4, "nothing was asked again"


def test_a_job_goes_on_to_its_end(data: Path, tmp_path: Path) -> None:
    config = TrainingConfig(data=data, epochs=1, on_bad_image="skip", **RESNET)
    job = Trainer(config, backend=InlineBackend(tmp_path)).submit().wait()
    assert read_card(job.artifact).training["epochs"] == 1
    assert any(line.startswith("breedclf-metrics {") for line in job.logs()), "its metrics are read from its log"
    failing = Trainer(config.replace(on_bad_image="error"), backend=InlineBackend(tmp_path)).submit()
    failing.wait(check=False)
    assert r"caf\xe9-broken" in str(failing.failure_reason)


def test_a_place_that_other_libraries_cant_open_is_refused_before_the_training(data: Path, tmp_path: Path) -> None:
    for flag in ("--output", "--cache-dir", "--weights"):
        done = breedclf("train", data, flag, tmp_path / NOT_UTF_8, cwd=tmp_path)
        assert done.returncode == 2
        assert b"isn't UTF-8: rename that folder, or choose another" in done.stderr
    assert list(tmp_path.iterdir()) == []


def images_of(data: Path, folder: Path) -> Path:
    """Some of the images under plain names."""
    folder.mkdir()
    for number, file in enumerate(sorted((data / "test").rglob("*.png"))):
        (folder / f"{number}.png").write_bytes(file.read_bytes())
    return folder


def test_an_exchanged_image_is_predicted_again(trained: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    model, asked = trained[0] / "model", Asked(trained[0] / "model")
    folder = images_of(data, tmp_path / "in")
    before = run(asked, model, folder, tmp_path / "out")
    (folder / "0.png").write_bytes((folder / "3.png").read_bytes())
    after = run(asked, model, folder, tmp_path / "out")
    assert asked.count == 5
    assert after[0]["predictions"] == before[3]["predictions"] != before[0]["predictions"]
    assert after[1:] == before[1:]


@pytest.mark.slow
def test_a_batch_prediction_goes_on_however_it_was_cut(trained: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    model, asked = trained[0] / "model", Asked(trained[0] / "model")
    folder, output = images_of(data, tmp_path / "in"), tmp_path / "out"
    (folder / "0.png").rename(folder / "a\u2028b\x85c.png")  # characters that some take for the ends of lines
    whole = run(asked, model, folder, output)
    lines = (output / "predictions.jsonl").read_bytes()
    asked.count = 0
    assert run(asked, model, folder, output) == whole
    assert asked.count == 0
    for at in (0, len(lines) - 30, lines.index("🐜".encode()) + 2):
        (output / "predictions.jsonl").write_bytes(lines[:at])
        assert run(asked, model, folder, output) == whole
    (output / "predictions.jsonl").unlink()
    for cut in (b"", b'{"weights_sha'):
        (output / "predictions.about.json").write_bytes(cut)
        assert run(asked, model, folder, output) == whole
        (output / "predictions.jsonl").unlink()
