"""Features that are read from the store when a batch needs them, and activations in the store."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from breedclf.config import TrainingConfig
from breedclf.features import memory_budget
from breedclf.features.memory_budget import MemoryBudget
from breedclf.features.stored_pass import FeatureCounts
from breedclf.testing.images import write_image_set
from breedclf.training.fit import fit
from breedclf.training.hooks import TrainingHook
from breedclf.training.records import StepRecord
from breedclf.training.results.result import FitResult

IMAGES = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("images"), classes=2, train=4, valid=2, test=0, size_px=64)


@pytest.fixture
def config(images: Path, tmp_path: Path) -> TrainingConfig:
    """Two epochs of three steps, with a cache of their own."""
    return TrainingConfig(
        data=images,
        architecture="resnet18",
        weights="none",
        epochs=2,
        batch_size=3,
        chunk_size=8,
        device="cpu",
        checkpoints=False,
        cache_dir=tmp_path / "cache",
        output=tmp_path / "output",
    )


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_budget, "LOADED_BYTES", 0)


def weights(result: FitResult) -> dict[str, torch.Tensor]:
    return load_file(result.artifact / "model.safetensors")


def assert_equal(one: FitResult, other: FitResult) -> None:
    assert one.history[-1].train_loss == other.history[-1].train_loss
    expected = weights(other)
    assert all(torch.equal(values, expected[name]) for name, values in weights(one).items())


class AfterFirstStep(TrainingHook):
    """Changes the shards of the store after the first step."""

    def __init__(self, store: Path, change: str) -> None:
        self.store, self.change = store, change

    def on_step(self, step: StepRecord, /) -> None:
        if (step.epoch, step.step) != (1, 1):
            return
        if self.change == "deleted":
            shutil.rmtree(self.store)
        else:
            for shard in self.store.rglob("*.rows"):
                os.truncate(shard, 100)


def test_a_head_is_the_same_from_memory_and_from_the_store(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = fit(config)
    monkeypatch.setattr(memory_budget, "LOADED_BYTES", 0)
    read = fit(config)
    assert read.features == FeatureCounts(reused=IMAGES)
    assert_equal(read, loaded)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    ("change", "message"), [("deleted", ""), ("cut off", "stored features can't be read")], ids=["deleted", "cut off"]
)
def test_training_goes_on_when_shards_change(
    config: TrainingConfig, change: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fit(config)
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        assert_equal(
            fit(config, hooks=[AfterFirstStep(Path(str(config.cache_dir), "feature-store"), change)]), expected
        )
    warnings = [record for record in caplog.records if "stored features" in record.message]
    assert len(warnings) == (2 if message else 0)  # once for each split
    assert message in caplog.text


@pytest.mark.usefixtures("nothing_is_loaded")
def test_without_a_usable_store_features_stay_in_memory(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fit(config)
    (tmp_path / "file").write_bytes(b"")
    without = fit(config.model_copy(update={"feature_store": str(tmp_path / "file")}))
    assert without.features == FeatureCounts(computed=IMAGES)
    assert_equal(without, expected)
    assert "continuing without it" in caplog.text


def test_activations_are_in_the_store_unless_they_take_too_much_of_the_disk(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = write_image_set(tmp_path / "few", classes=2, train=1, valid=1, test=0, size_px=64)
    config = config.model_copy(update={"data": few, "freeze": "layer4", "augment": "none"})
    with caplog.at_level(logging.INFO, logger="breedclf"):
        first, second = fit(config), fit(config)
    assert (first.features, second.features) == (FeatureCounts(computed=4), FeatureCounts(reused=4))
    assert "is cached in" in caplog.text
    assert "feature_cache=False turns this off" in caplog.text
    assert "in memory" not in caplog.text
    assert_equal(second, first)
    monkeypatch.setattr(memory_budget, "_SHARE_OF_CACHE", 1e-6)
    with caplog.at_level(logging.INFO, logger="breedclf"):
        assert_equal(fit(config.model_copy(update={"cache_dir": Path(str(config.cache_dir), "other")})), first)
    assert "is kept in memory" in caplog.text


def test_a_disk_budget_is_half_of_the_limit_or_of_the_free_space(tmp_path: Path) -> None:
    assert MemoryBudget.of_disk(tmp_path / "not" / "there", 1_000).left == 500
    assert MemoryBudget.of_disk(tmp_path, 1 << 60).left == pytest.approx(shutil.disk_usage(tmp_path).free / 2, rel=0.2)
