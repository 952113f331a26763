"""Distances, probabilities and prediction sets where they can't be had: one line says why, and the rest still works."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from breedclf import Classifier, FitResult, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.inference.feature_bank import BANK_FILE, FeatureBank
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.testing.images import write_image_set
from tests.serving.conftest import draw, encode, post, running, write_tiny_model

Run = Callable[..., tuple[int, Any, str]]
QUICK = {"architecture": "resnet18", "weights": "none", "chunk_size": 8, "epochs": 1, "device": "cpu"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json; returns its exit code, its document, and its line on stderr."""

    def command(*words: object) -> tuple[int, Any, str]:
        code = main([*map(str, words), "--json"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        lines = [line.removeprefix("breedclf: ") for line in captured.err.splitlines() if line.startswith("breedclf: ")]
        return code, json.loads(captured.out) if captured.out else None, lines[-1] if lines else ""

    return command


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    draw(0).save(path)
    return path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as older versions wrote it: not calibrated, and without a bank."""
    return write_tiny_model(tmp_path_factory.mktemp("old") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "set"
    return write_image_set(folder, classes=2, train=16, valid=16, test=2, size_px=64)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """Two classes, 32 images for training and 32 for validation."""
    return Trainer(TrainingConfig(data=data, output=tmp_path_factory.mktemp("trained"), **QUICK)).fit()


@pytest.fixture
def with_bank(trained: FitResult, tmp_path: Path) -> Path:
    """A copy of its model directory."""
    return Path(shutil.copytree(trained.artifact, tmp_path / "with" / "model"))


def give_bank(model: Path, bank: FeatureBank) -> Path:
    """Put another bank into a model directory, with a card that names its file; returns the file."""
    bank.save(model)
    file = model / BANK_FILE
    card = json.loads((model / "breedclf.json").read_text())
    card["feature_bank"] |= {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "images": len(bank.rows)}
    (model / "breedclf.json").write_text(json.dumps(card))
    return file


# Models without a bank


def test_a_model_without_a_bank_answers_as_before(run: Run, old: Path, image: Path) -> None:
    code, (answer,), _ = run("predict", old, image)
    assert code == 0
    assert answer["known"] is True
    assert "distance" not in answer and "prediction_set" not in answer
    prediction = Classifier(old).predict(image)
    assert prediction.known and prediction.distance is None


def test_prediction_sets_of_a_model_without_quantiles(old: Path, image: Path) -> None:
    with pytest.raises(ConfigError, match="the model has no quantiles for prediction sets") as raised:
        Classifier(old).predict(image, coverage=0.9)
    assert "train it again" in str(raised.value)


@pytest.mark.parametrize(
    ("coverage", "told"),
    [
        (0.99, "needs at least 99 validation images, and the model was trained with 32: ask for at most 0.969, or"),
        (90.0, "coverage=90: choose a share between 0 and 1, such as 0.9"),
        (float("nan"), "coverage=nan: choose a share between 0 and 1, such as 0.9"),
    ],
)
def test_a_coverage_that_cannot_be_had(trained: FitResult, image: Path, coverage: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        trained.classifier.predict(image, coverage=coverage)


def test_a_model_without_a_bank_is_served(old: Path) -> None:
    with running(old) as (url, _):
        answer = post(f"{url}/invocations", encode(draw(0))).json()
    assert "distance" not in answer and answer.get("known", True) is True


def test_unlike_images_for_a_model_without_a_bank(run: Run, tmp_path: Path, image: Path) -> None:
    data = write_image_set(tmp_path / "set", classes=2, train=1, valid=0, test=1, size_px=64)
    model = tmp_path / "model"
    labels = sorted(path.name for path in (data / "test").iterdir())
    card = {"architecture": "resnet18", "labels": labels, "class_names": labels, "preprocessing": Preprocessing()}
    write_artifact(model, card, find_backbone("resnet18").new_network(seed=0, classes=2).state_dict())
    code, document, line = run("evaluate", model, data, "--unlike", image.parent)
    assert (code, document) == (2, None)
    assert f"unlike: {model} has no feature bank" in line
    assert "Train it again with this version; without unlike, it is evaluated as before" in line
    code, document, _ = run("evaluate", model, data)
    assert code == 0 and document["known_share"] is None


def test_a_model_without_a_bank_is_explained(run: Run, old: Path, image: Path, tmp_path: Path) -> None:
    code, _, _ = run("predict", old, image, "--explain", tmp_path / "maps")
    assert code == 0
    assert [path.suffix for path in (tmp_path / "maps").iterdir()] == [".png"]
    explanation = Classifier(old, precision="fp32").explain(image)
    assert float(explanation.values.sum()) + explanation.bias == pytest.approx(explanation.score, abs=1e-4)


@pytest.mark.parametrize("coverage", ["0.9", "2"])
def test_coverage_on_the_command_line_needs_quantiles(run: Run, old: Path, image: Path, coverage: str) -> None:
    code, document, line = run("predict", old, image, "--coverage", coverage)
    assert (code, document) == (2, None)
    assert f"coverage={coverage}" in line.replace("coverage: ", "coverage=")


# Explanations that can't be had


def test_a_class_that_is_not_there(old: Path, image: Path) -> None:
    with pytest.raises(ConfigError, match="class_name='Beagel': the model has no such class; .*Beagle"):
        Classifier(old).explain(image, "Beagel")
    with pytest.raises(ConfigError, match="class_name='Unicorn': the model has no such class"):
        Classifier(old).explain(image).difference("Unicorn")


def test_a_class_that_is_not_there_by_http(old: Path) -> None:
    with running(old) as (url, _):
        answer = post(f"{url}/invocations?explain=1&class=Beagel", encode(draw(0)))
    assert answer.status == 400
    assert "Beagel" in answer.json()["error"]["message"] and "Beagle" in answer.json()["error"]["message"]


def test_an_endpoint_has_no_maps_for_the_command_line(run: Run, image: Path, tmp_path: Path) -> None:
    code, document, line = run("predict", "--endpoint", "dogs", image, "--explain", tmp_path / "maps")
    assert (code, document) == (2, None)
    assert "--explain has no effect on an endpoint" in line and "predict with the model directory" in line


# A bank that isn't the model's


def use_words(use: str, model: Path, data: Path, image: Path) -> list[object]:
    return {
        "predict": ["predict", model, image],
        "evaluate": ["evaluate", model, data],
        "serve": ["serve", model, "--port", "0"],
        "export": ["export", model, "--format", "torch"],
    }[use]


USES = ("predict", "evaluate", "serve", "export")


@pytest.mark.parametrize("use", USES)
def test_a_bank_that_was_replaced(run: Run, with_bank: Path, data: Path, image: Path, use: str) -> None:
    FeatureBank(torch.randn(32, 512).half(), 5).save(with_bank)
    code, document, line = run(*use_words(use, with_bank, data, image))
    assert (code, document) == (3, None)
    assert f"{with_bank / BANK_FILE} is damaged or was replaced: its sha256 isn't that in breedclf.json" in line
    assert "train again" in line


@pytest.mark.parametrize("use", USES)
def test_a_bank_of_another_backbone(run: Run, with_bank: Path, data: Path, image: Path, use: str) -> None:
    file = give_bank(with_bank, FeatureBank(torch.randn(32, 576).half(), 5))
    code, document, line = run(*use_words(use, with_bank, data, image))
    assert (code, document) == (3, None)
    assert f"{file} doesn't fit the model, whose images have 512 features" in line
    assert "of another backbone; train again or restore the file" in line


def test_a_bank_that_is_missing(run: Run, with_bank: Path, image: Path) -> None:
    (with_bank / BANK_FILE).unlink()
    code, document, line = run("predict", with_bank, image)
    assert (code, document) == (3, None)
    assert f"{with_bank} has no {BANK_FILE}, which breedclf.json names; train again" in line


def test_a_bank_with_nan(run: Run, with_bank: Path, image: Path) -> None:
    give_bank(with_bank, FeatureBank(torch.full((32, 512), torch.nan).half(), 5))
    code, document, line = run("predict", with_bank, image)
    assert (code, document) == (3, None)
    assert "doesn't fit the model" in line


# Few images, and equal ones


def test_two_classes_are_enough(run: Run, trained: FitResult, data: Path) -> None:
    card = trained.classifier.card
    assert card.feature_bank is not None and card.feature_bank.limited_on_images == 64
    code, document, _ = run("evaluate", trained.artifact, data)
    assert code == 0 and document["count"] == 4


def test_one_image_per_class(run: Run, tmp_path: Path, image: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="breedclf")
    data = write_image_set(tmp_path / "set", classes=2, train=1, valid=1, test=1, size_px=64)
    result = Trainer(TrainingConfig(data=data, output=tmp_path / "out", **QUICK)).fit()
    card = result.classifier.card
    assert card.feature_bank is None
    assert "no feature bank: 2 training and 2 validation images" in caplog.text
    assert card.calibration is not None and card.calibration.temperature == pytest.approx(1, abs=0.2)
    code, (answer,), _ = run("predict", result.artifact, image)
    assert code == 0 and answer["known"] is True and "distance" not in answer


def test_images_that_are_all_equal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All distances are 0 up to rounding, which differs by precision: the image itself is known."""
    one = tmp_path / "one.png"
    draw(0).save(one)
    for split in ("train", "valid"):
        for label in ("a", "b"):
            folder = tmp_path / "set" / split / label
            folder.mkdir(parents=True)
            for number in range(16):
                shutil.copy(one, folder / f"{number}.png")
    result = Trainer(TrainingConfig(data=tmp_path / "set", output=tmp_path / "out", **QUICK)).fit()
    bank = result.classifier.card.feature_bank
    assert bank is not None and 0 < bank.threshold <= 0.01
    assert "all images have the same features" in caplog.text
    for precision in ("fp32", "bf16"):
        classifier = Classifier(result.artifact, device="cpu", precision=precision)
        prediction = classifier.predict(one)
        assert prediction.known and prediction.distance == pytest.approx(0, abs=0.01)
        assert sum(each.probability for each in prediction.ranked) == pytest.approx(1)
