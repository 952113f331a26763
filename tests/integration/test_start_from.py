"""`start_from`: a model is continued with the same, more, fewer and other classes, and refused where it can't be."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Classifier, Trainer, TrainingConfig, TuningJob, evaluate
from breedclf.cli import main
from breedclf.errors import ArtifactError, BreedclfError, ConfigError, DataError, WeightsError
from breedclf.models.weights import load_pretrained
from breedclf.testing.images import write_image_set
from breedclf.training.fit import FitResult
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.training.start_model import start_weights
from breedclf.tuning.space import Categorical
from tests.integration.conftest import RESNET


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("images") / "all", classes=4, train=4, valid=2, test=0, size_px=64)


def with_classes(images: Path, folder: Path, labels: dict[str, str]) -> Path:
    """A dataset of some of the classes; `labels` maps their folders here to those in `images`."""
    for split in ("train", "valid"):
        for label, origin in labels.items():
            shutil.copytree(images / split / origin, folder / split / label)
    return folder


def labels_of(images: Path) -> list[str]:
    return sorted(path.name for path in (images / "train").iterdir())


@pytest.fixture(scope="module")
def three(images: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A model of the first three classes."""
    root = tmp_path_factory.mktemp("three")
    data = with_classes(images, root / "data", {label: label for label in labels_of(images)[:3]})
    return Trainer(TrainingConfig(data=data, output=root / "out", epochs=4, calibration=False, **RESNET)).fit()  # type: ignore[arg-type]


def continued(three: FitResult, data: Path, output: Path, **settings: Any) -> FitResult:
    return Trainer(
        TrainingConfig(
            **{
                "data": data,
                "output": output,
                "start_from": three.artifact,
                "chunk_size": 8,
                "calibration": False,
                **settings,
            }
        )
    ).fit()


def head_of(artifact: Path) -> torch.Tensor:
    return load_file(artifact / "model.safetensors")["fc.weight"]


STILL = {"epochs": 1, "learning_rate": 1e-12, "momentum": 0.0}
"""Training that changes nothing visible, so that a model's head is that of the start."""


@pytest.mark.parametrize(
    ("freeze", "head"),
    [
        ("head", "standardized"),
        ("head", "linear"),
        pytest.param("layer4", "standardized", marks=pytest.mark.slow),
        pytest.param("none", "linear", marks=pytest.mark.slow),
    ],
)
def test_scores_of_kept_classes_are_the_old_ones_before_the_first_step(
    images: Path, three: FitResult, tmp_path: Path, freeze: str, head: str
) -> None:
    result = continued(
        three, images, tmp_path / "out", head=head, freeze=freeze, precision="fp32", batch_norm="fixed", **STILL
    )
    rows = load_file(result.artifact / "model.safetensors")
    old = load_file(three.artifact / "model.safetensors")
    assert torch.allclose(rows["fc.weight"][:3], old["fc.weight"], rtol=1e-4, atol=1e-6)
    assert torch.allclose(rows["fc.bias"][:3], old["fc.bias"], rtol=1e-4, atol=1e-5)
    paths = sorted((images / "valid").rglob("*.jpg"))[:6]
    then, now = (Classifier(each.artifact, precision="fp32").probabilities(paths) for each in (three, result))
    assert torch.allclose(now[:, :3] / now[:, :3].sum(1, keepdim=True), then, atol=1e-4)
    before = result.before
    assert before is not None
    assert before.known_count == 6
    assert before.known_accuracy == three.best.valid_accuracy


def test_a_new_class_starts_below_the_best_and_is_learned(images: Path, three: FitResult, tmp_path: Path) -> None:
    result = continued(three, images, tmp_path / "out", epochs=6)
    before = result.before
    assert before is not None
    assert before.valid_accuracy * 8 == pytest.approx(before.known_accuracy * 6), "no image goes to the new class yet"
    assert result.best.valid_loss < before.valid_loss
    assert result.to_dict()["before"] == before.to_dict()
    assert result.classifier.card.labels == tuple(labels_of(images))


def test_rows_move_by_label_and_unique_name(
    images: Path, three: FitResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third, fourth = labels_of(images)
    name = second.partition(".")[2]
    data = with_classes(images, tmp_path / "data", {f"000.{name}": second, third: third, "900.New": fourth})
    with caplog.at_level(logging.INFO, logger="breedclf"):
        result = continued(three, data, tmp_path / "out", **STILL)
    line = f"2 classes kept ('000.{name}' was '{second}'), 1 new ('900.New'), 1 dropped ('{first}')"
    assert any(message.endswith(line) for message in caplog.messages), caplog.messages
    old, rows = head_of(three.artifact), head_of(result.artifact)
    assert torch.allclose(rows[:2], old[1:], rtol=1e-4, atol=1e-6)
    card = json.loads((result.artifact / "breedclf.json").read_text())
    assert card["start_from"] == {
        "fingerprint": json.loads((three.artifact / "breedclf.json").read_text())["weights_sha256"],
        "kept": [f"000.{name}", third],
        "new": ["900.New"],
        "dropped": [first],
        "renamed": {f"000.{name}": second},
    }


def test_no_class_in_common_is_a_new_head_on_the_model_s_backbone(
    images: Path, three: FitResult, tmp_path: Path
) -> None:
    data = with_classes(images, tmp_path / "data", {"x": labels_of(images)[0], "y": labels_of(images)[3]})
    result = continued(three, data, tmp_path / "a")
    other = Trainer(
        TrainingConfig(
            data=data,
            output=tmp_path / "b",
            calibration=False,
            **{**RESNET, "weights": str(three.artifact / "model.safetensors")},
        )
    ).fit()
    assert torch.equal(head_of(result.artifact), head_of(other.artifact))
    assert result.before is not None
    assert result.before.known_count == 0
    assert result.to_dict()["before"]["known_accuracy"] is None


def test_the_features_are_those_of_the_original_weights(
    images: Path, three: FitResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    Trainer(TrainingConfig(data=images, output=tmp_path / "a", cache_dir=cache, **RESNET)).fit()  # type: ignore[arg-type]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="breedclf"):
        continued(three, images, tmp_path / "b", cache_dir=cache)
    assert not [message for message in caplog.messages if "through the backbone" in message]
    assert start_weights(three.artifact).fingerprint == load_pretrained("resnet18", "none").fingerprint


def test_architecture_and_preprocessing_are_the_model_s(images: Path, three: FitResult, tmp_path: Path) -> None:
    result = continued(three, images, tmp_path / "out", epochs=1)
    config = TrainingConfig.from_file(result.output / "config.json")
    assert (config.architecture, config.weights, config.start_from) == ("resnet18", "start_from", three.artifact)
    assert result.classifier.card.preprocessing == three.classifier.card.preprocessing
    with pytest.raises(ConfigError, match=r"has architecture=resnet18, but architecture=resnet50 is set"):
        continued(three, images, tmp_path / "out", architecture="resnet50")
    with pytest.raises(ConfigError, match=r"has dct_scaling=False, but dct_scaling=True is set"):
        continued(three, images, tmp_path / "out", dct_scaling=True)
    continued(three, images, tmp_path / "out", epochs=1, architecture="resnet18", dct_scaling=False)


def test_the_output_folder_is_a_model_and_may_be_the_output(images: Path, three: FitResult, tmp_path: Path) -> None:
    shutil.copytree(three.output, tmp_path / "out")
    sha = three.classifier.card.weights_sha256
    result = continued(three, images, tmp_path / "out", start_from=tmp_path / "out", epochs=1)
    assert result.artifact == tmp_path / "out/model"
    start = result.classifier.card.start_from
    assert start is not None
    assert start.fingerprint == sha
    again = continued(three, images, tmp_path / "out", start_from=tmp_path / "out/model", epochs=1)
    assert again.classifier.card.start_from is not None
    assert again.classifier.card.start_from.new == ()


class _Interrupt(TrainingHook):
    def on_epoch(self, epoch: EpochRecord) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param({"freeze": "layer4", "ema": 0.5}, marks=pytest.mark.slow)],
    ids=["head", "layer4"],
)
def test_an_interrupted_run_resumes_to_the_same_weights(
    images: Path, three: FitResult, tmp_path: Path, settings: dict[str, Any]
) -> None:
    same = {"deterministic": True, "epochs": 2, **settings}
    whole = continued(three, images, tmp_path / "whole", **same)
    config = TrainingConfig(
        data=images,
        output=tmp_path / "parts",
        start_from=three.artifact,
        chunk_size=8,
        checkpoints=True,
        calibration=False,
        **same,
    )
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit(hooks=[_Interrupt()])
    resumed = Trainer(config).fit(resume=True)
    assert resumed.classifier.card.weights_sha256 == whole.classifier.card.weights_sha256
    assert resumed.before is not None and whole.before is not None
    assert resumed.before.valid_loss == pytest.approx(whole.before.valid_loss)
    other = continued(three, images, tmp_path / "other", epochs=1)
    with pytest.raises(
        DataError, match="the weights of the start_from model have changed since the checkpoint was made"
    ):
        Trainer(config.replace(start_from=other.artifact)).fit(resume=True)


def test_a_run_that_is_not_better_says_so(
    images: Path, three: FitResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = with_classes(images, tmp_path / "data", {label: label for label in labels_of(images)[:3]})
    with caplog.at_level(logging.INFO, logger="breedclf"):
        worse = continued(three, same, tmp_path / "worse", learning_rate=50, epochs=1)
        continued(worse, same, tmp_path / "better", epochs=2, learning_rate=0.5)
    reports = [record for record in caplog.records if " before, " in record.getMessage()]
    assert [record.levelname for record in reports] == ["WARNING", "INFO"]
    assert "no epoch is better than the model of start_from by valid_loss" in reports[0].getMessage()


def test_weights_that_are_a_model_name_start_from(
    images: Path, three: FitResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"data": images, "output": tmp_path / "out", "architecture": "resnet18", "epochs": 1, "chunk_size": 8}
    file = three.artifact / "model.safetensors"
    Trainer(TrainingConfig(**settings, weights=str(file))).fit()  # type: ignore[arg-type]
    assert [text for text in caplog.messages if f"start_from={three.artifact} keeps it" in text]
    for folder in (three.artifact, three.output):
        for backend in (None, "local"):
            with pytest.raises(WeightsError, match=f"is a model directory: start_from='{three.artifact}' continues"):
                Trainer(TrainingConfig(**settings, weights=str(folder)), backend=backend).fit()  # type: ignore[arg-type]


def _damaged(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-9] ^= 255
    file.write_bytes(data)


def _newer(folder: Path) -> None:
    card = json.loads((folder / "breedclf.json").read_text())
    (folder / "breedclf.json").write_text(json.dumps({**card, "schema_version": 99}))


BAD_MODELS: dict[str, tuple[Any, str]] = {
    "missing": (shutil.rmtree, "start_from: .* is not a breedclf model: it doesn't exist"),
    "no card": (lambda folder: (folder / "breedclf.json").unlink(), "is not a breedclf model: it has no breedclf.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights: model.safetensors is miss"),
    "damaged": (_damaged, "start_from: .*model.safetensors is damaged or was replaced"),
    "newer": (_newer, "start_from: .*has schema_version 99.*upgrade breedclf"),
}


@pytest.mark.parametrize(
    ("kind", "how"),
    [*((kind, "fit") for kind in BAD_MODELS), *(("damaged", how) for how in ("submit", "find_learning_rate", "tune"))],
)
def test_what_is_no_model_is_refused_everywhere(
    images: Path, three: FitResult, tmp_path: Path, kind: str, how: str
) -> None:
    damage, message = BAD_MODELS[kind]
    model = shutil.copytree(three.artifact, tmp_path / "model")
    damage(model)
    config = TrainingConfig(data=images, output=tmp_path / "out", start_from=model, chunk_size=8)
    with pytest.raises(ArtifactError, match=message):
        if how == "tune":
            TuningJob(config, space={"epochs": Categorical(1, 2)}, home=tmp_path / "home").run()
        else:
            getattr(Trainer(config), how)()
    assert not (tmp_path / "out/model").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "model.tar.gz"])
def test_a_file_is_no_model_directory(images: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    config = TrainingConfig(data=images, start_from=tmp_path / name, output=tmp_path / "out")
    with pytest.raises(ArtifactError, match=rf"start_from: .*{name} is a file, not a breedclf model; give the direct"):
        Trainer(config).fit()


def test_a_model_in_s3_is_refused(images: Path) -> None:
    with pytest.raises(BreedclfError, match="start_from=s3://mine/model: the model must be on this machine"):
        Trainer(TrainingConfig(data=images, start_from="s3://mine/model")).fit()


def test_the_command_line_continues(
    images: Path, three: FitResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--start-from", str(three.output), "--output", str(tmp_path / "out"), "--epochs", "1", "--chunk-size", "8"]
    assert main(["train", str(images), "--json", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["before"]) == {"valid_loss", "valid_accuracy", "known_count", "known_loss", "known_accuracy"}
    assert main(["train", str(images), *flags, "--weights", "none"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert main(["train", str(images), *flags[2:], "--start-from", str(tmp_path / "gone")]) == 3


def test_every_trial_of_a_search_continues_the_model(images: Path, three: FitResult, tmp_path: Path) -> None:
    config = TrainingConfig(data=images, start_from=three.output, chunk_size=8)
    job = TuningJob(config, space={"epochs": Categorical(1, 2)}, strategy="grid", home=tmp_path / "home").run()
    assert [trial.status for trial in job.trials] == ["Completed", "Completed"]
    assert (job.best.config.architecture, job.best.config.start_from) == ("resnet18", three.artifact)
    card = Classifier(job.best.artifact).card
    assert card.start_from is not None
    assert card.start_from.fingerprint == three.classifier.card.weights_sha256


def test_the_old_and_the_new_model_are_evaluated_on_the_same_images(
    images: Path, three: FitResult, tmp_path: Path
) -> None:
    data = with_classes(images, tmp_path / "old", {label: label for label in labels_of(images)[:3]})
    result = continued(three, images, tmp_path / "out", epochs=1)
    then = evaluate(three.artifact, data, split="valid", output=tmp_path / "a")
    now = evaluate(result.artifact, data, split="valid", output=tmp_path / "b")
    assert then.count == now.count == 6
