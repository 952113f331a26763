"""Training more than the head: what changes and what doesn't, that ways to compute it agree, and what is told."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Categorical, Classifier, Trainer, TrainingConfig, TuningJob, evaluate
from breedclf.errors import ConfigError
from breedclf.features.memory_budget import MemoryBudget
from breedclf.models.backbones.backbone import find_backbone
from breedclf.profiling.profile import Profile
from breedclf.training.fit import fit
from breedclf.training.hooks import StepRecord, TrainingHook
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.lr_finder import curve
from tests.integration.conftest import RESNET, write_patterns

FINE = {
    **RESNET,
    "precision": "fp32",
    "device": "cpu",
    "profile": "off",
    "checkpoints": False,
    "epochs": 2,
    "batch_size": 3,  # two steps an epoch
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("fine") / "pictures", counts={"train": 3, "valid": 2, "test": 1})


def config_of(pictures: Path, output: Path, **settings: Any) -> TrainingConfig:
    return TrainingConfig(data=pictures, output=output, **{**FINE, "freeze": "layer4", **settings})


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def changed_stages(output: Path) -> set[str]:
    before = find_backbone("resnet18").new_network(seed=0).state_dict()
    after = weights_of(output)
    trained = {n for n in after if not n.startswith("fc.") and not torch.equal(after[n], before[n])}
    return {name.split(".")[0] for name in trained}


@pytest.mark.parametrize(
    ("freeze", "changed"),
    [("layer4", {"layer4"}), ("none", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"})],
)
def test_what_is_not_frozen_changes_and_nothing_else(
    pictures: Path, tmp_path: Path, freeze: str, changed: set[str]
) -> None:
    result = fit(config_of(pictures, tmp_path, freeze=freeze, epochs=1))
    assert changed_stages(tmp_path) == changed
    names = set(weights_of(tmp_path))
    assert names == set(find_backbone("resnet18").new_network(seed=0).state_dict())
    assert result.history[0].valid_loss > 0


def test_the_model_answers_as_it_was_measured(pictures: Path, tmp_path: Path) -> None:
    result = fit(config_of(pictures, tmp_path, epochs=1, batch_norm="fixed", calibration=False))
    classifier = Classifier(result.artifact, device="cpu", precision="fp32")
    measured = evaluate(result.artifact, pictures, split="valid", precision="fp32", device="cpu")
    assert measured.accuracy == pytest.approx(result.best.valid_accuracy)
    assert measured.loss == pytest.approx(result.best.valid_loss, rel=2e-2)
    assert len(classifier.class_names) == 2


def test_kept_and_recomputed_activations_train_the_same(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"augment": "none", "batch_norm": "fixed", "epochs": 2}
    with caplog.at_level(logging.INFO, "breedclf"):
        fit(config_of(pictures, tmp_path / "kept", **settings))
    kept = [line for line in caplog.messages if "the backbone's output is cached in" in line]
    assert [line.split(",")[0] for line in kept] == ["train images", "valid images"]
    caplog.clear()
    with caplog.at_level(logging.INFO, "breedclf"):
        fit(config_of(pictures, tmp_path / "anew", feature_cache=False, **settings))
    assert "is cached in" not in caplog.text
    one, other = weights_of(tmp_path / "kept"), weights_of(tmp_path / "anew")
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), rtol=1e-3, atol=1e-5), name


def test_what_fits_neither_on_disk_nor_in_memory_is_computed_anew_and_said(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryBudget, "of_disk", classmethod(lambda cls, *_: cls(0)))
    with caplog.at_level(logging.INFO, "breedclf"):
        fit(config_of(pictures, tmp_path / "in-memory", augment="none", cache_dir=tmp_path / "cache"))
    assert caplog.text.count("is kept in memory") == 2
    monkeypatch.setattr(MemoryBudget, "of_this_machine", classmethod(lambda cls: cls(0)))
    with caplog.at_level(logging.INFO, "breedclf"):
        fit(config_of(pictures, tmp_path / "recomputed", augment="none", cache_dir=tmp_path / "cache"))
    assert "doesn't fit in memory and is recomputed in each epoch" in caplog.text


def test_a_batch_in_parts_trains_the_same(pictures: Path, tmp_path: Path) -> None:
    fit(config_of(pictures, tmp_path / "whole", batch_norm="fixed", epochs=1))
    fit(
        config_of(
            pictures, tmp_path / "parts", batch_norm="fixed", epochs=1, gradient_accumulation_steps=3, chunk_size=5
        )
    )
    one, other = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), rtol=1e-3, atol=1e-5), name


@pytest.mark.slow
def test_interrupted_in_an_epoch_it_ends_with_the_very_same_weights(pictures: Path, tmp_path: Path) -> None:
    class Stop(TrainingHook):
        def on_step(self, step: StepRecord) -> None:
            if (step.epoch, step.step) == (2, 2):
                os.kill(os.getpid(), signal.SIGTERM)

    settings: dict[str, Any] = {"deterministic": True, "batch_size": 2, "ema": 0.9, "optimizer": "adamw"}
    whole = fit(config_of(pictures, tmp_path / "whole", **settings))
    torn = config_of(pictures, tmp_path / "torn", **settings, checkpoints=True)
    with pytest.raises(TrainingInterrupted):
        fit(torn, hooks=[Stop()])
    again = fit(torn.replace(resume=True))
    assert [r.valid_loss for r in again.history] == [r.valid_loss for r in whole.history]
    one, other = weights_of(tmp_path / "whole"), weights_of(tmp_path / "torn")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_unreadable_images_are_skipped_and_named(tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "pictures", counts={"train": 3, "valid": 2})
    (pictures / "train/001.Lying/broken.jpg").write_bytes(b"\xff\xd8\xff")
    (pictures / "valid/002.Standing/empty.png").touch()
    result = fit(config_of(pictures, tmp_path / "out", on_bad_image="skip", epochs=1))
    assert [Path(reason.split(" can't")[0]).name for reason in result.skipped] == ["broken.jpg", "empty.png"]


def test_a_rate_for_heads_is_warned_of(pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(config_of(pictures, tmp_path, learning_rate=0.01, epochs=1, augment="none"))
    (told,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "learning_rate=0.01 is above 0.001" in told.getMessage()


def test_a_search_in_one_process_takes_policies_as_they_come(pictures: Path, tmp_path: Path) -> None:
    settings = {**FINE, "epochs": 1}
    config = TrainingConfig(data=pictures, output=tmp_path / "out", **settings)  # type: ignore[arg-type]
    tuning = TuningJob(
        config, space={"freeze": Categorical("head", "layer4")}, objective="valid_loss", strategy="grid", max_jobs=2
    ).run()
    tuning.wait()
    assert [trial.status for trial in tuning.trials] == ["Completed", "Completed"]
    assert not list((tmp_path / "out").rglob("checkpoints"))


def test_a_profile_knows_the_parts_of_each_step(pictures: Path, tmp_path: Path) -> None:
    Trainer(config_of(pictures, tmp_path, profile="timers", augment="none")).fit()
    steps = Profile.load(tmp_path / "profile" / "profile.json").steps
    assert set(steps.phases) >= {"train", "valid"}
    train = steps.phase == steps.phases.index("train")
    assert train.sum() == 4
    for part in ("data_wait", "forward", "backward", "optimizer"):
        assert (steps.parts[part][train] > 0).all(), part


# ---- the finder


def test_the_finder_suggests_a_rate_at_which_a_training_learns(tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "pictures", counts={"train": 6, "valid": 3})
    config = TrainingConfig(data=pictures, output=tmp_path / "out", **{**FINE, "batch_size": 6})  # type: ignore[arg-type]
    found = Trainer(config).find_learning_rate(steps=60)
    assert found.learning_rates[0] == pytest.approx(1e-6)
    assert list(found.learning_rates) == sorted(found.learning_rates)
    assert found.learning_rates[0] < found.suggestion <= found.lowest_loss_at
    assert not (tmp_path / "out").exists(), "looking writes nothing"
    result = fit(config.replace(learning_rate=found.suggestion, epochs=5))
    assert result.best.valid_loss < 0.69
    page = found.plot(tmp_path / "rate.html").read_text()
    assert "<svg" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)


def test_a_curve_falls_fastest_where_it_says() -> None:
    rates = [10 ** (-6 + step / 10) for step in range(70)]
    losses = [1.0 if rate < 1e-3 else 0.5 if rate < 1e-1 else 3.0 for rate in rates]
    found = curve(rates, [*losses[:60], float("nan")])
    assert 1e-3 <= found.suggestion <= 3e-3
    assert 1e-3 < found.lowest_loss_at <= 1e-1
    assert len(found.losses) == 60


@pytest.mark.slow
def test_prepared_images_train_the_same_network_and_are_kept(pictures: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"freeze": "none", "augment": "none", "cache_dir": tmp_path / "cache"}
    fit(config_of(pictures, tmp_path / "files", **settings))
    fit(config_of(pictures, tmp_path / "prepared", decoded_cache=True, **settings))
    first, second = weights_of(tmp_path / "files"), weights_of(tmp_path / "prepared")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(list((tmp_path / "cache" / "images").glob("*.pixels"))) == 2
    crops = {**settings, "augment": "crop", "decoded_cache": True}
    result = fit(config_of(pictures, tmp_path / "crops", **crops))
    assert len(result.history) == 2


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["layer4", "none"])
def test_activation_checkpointing_trains_the_same_network(pictures: Path, tmp_path: Path, freeze: str) -> None:
    settings: dict[str, Any] = {"batch_norm": "fixed", "deterministic": True, "freeze": freeze}
    fit(config_of(pictures, tmp_path / "kept", **settings))
    fit(config_of(pictures, tmp_path / "again", activation_checkpointing=True, **settings))
    kept, again = weights_of(tmp_path / "kept"), weights_of(tmp_path / "again")
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_activation_checkpointing_needs_fixed_statistics(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set batch_norm=fixed"):
        config_of(pictures, tmp_path, activation_checkpointing=True, batch_norm="trained")
