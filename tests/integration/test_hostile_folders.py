"""Realistic folders: odd names, loops, pipes, empty and tiny classes, files that change during training."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from breedclf import TrainingConfig
from breedclf.cli import main
from breedclf.errors import DataError
from breedclf.features.extraction import StoredFeatures
from breedclf.models.head import new_head
from breedclf.training.fit import fit
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.training.loop import train
from breedclf.training.task import TrainingTask
from tests.hostile_images import write
from tests.integration.conftest import QUICK, write_patterns

NETWORK_FLAGS = ["--architecture", "shufflenet_v2_x0_5", "--weights", "none"]
QUICK_FLAGS = [*NETWORK_FLAGS, "--epochs", "1", "--chunk-size", "8", "--json"]


def config_of(data: Path, output: Path, **settings: Any) -> TrainingConfig:
    return TrainingConfig(data=data, output=output, profile="off", **{**QUICK, **settings})


def labels_of(artifact: Path) -> list[str]:
    return list(json.loads((artifact / "breedclf.json").read_text(encoding="utf-8"))["labels"])


@pytest.mark.skipif(sys.platform == "win32", reason="such names and files need POSIX")
def test_names_loops_and_pipes_are_no_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "a folder"
    classes = ["001.Dackel – Zwerg", "002.two\nlines", "003. 柴犬 ", "004.case", "004.CASE"]
    for split in ("train", "valid"):
        for label in classes:
            write(data / split / label / "ä image\nof 🐕 .jpg")
            write(data / split / label / "B.JPG")
    home = data / "train" / classes[0]
    (home / "loop").symlink_to(data / "train")
    (home / "itself.jpg").symlink_to("itself.jpg")
    (home / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(home / "pipe.jpg")
    (data / "train" / "back").symlink_to(data, target_is_directory=True)
    before = sorted(os.fsencode(path) for path in data.rglob("*"))
    assert main(["train", str(data), *QUICK_FLAGS, "--output", str(tmp_path / "out")]) == 0
    answer = json.loads(capsys.readouterr().out)
    labels = labels_of(Path(answer["artifact"]))
    if len(list((data / "train").glob("004.*"))) == 2:  # not on a disk that takes the two names for one
        assert labels == sorted(classes)
    assert answer["skipped"] == []
    assert sorted(os.fsencode(path) for path in data.rglob("*")) == before, "nothing is written into the folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "data")
    secret = data / "train/001.Lying/0.png"
    secret.chmod(0)
    with pytest.raises(DataError, match=r"0\.png can't be read: Permission denied"):
        fit(config_of(data, tmp_path / "out"))


def test_an_empty_class_is_none_and_shifts_no_label(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "data")
    for split in ("train", "valid", "test"):
        (data / split / "000.Nobody").mkdir()
    settings: dict[str, Any] = {"epochs": 5, "class_weights": "balanced"}
    result = fit(config_of(data, tmp_path / "out", **settings))
    assert labels_of(result.artifact) == ["001.Lying", "002.Standing"]
    image = next((data / "test/002.Standing").iterdir())
    assert result.classifier.predict(image).best.label == "002.Standing"


def test_a_class_that_only_valid_has_is_refused_by_name(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "data")
    write(data / "valid/003.Stranger/1.jpg")
    with pytest.raises(DataError, match=r"the valid split .* has classes that train doesn't have: '003.Stranger'"):
        fit(config_of(data, tmp_path / "out"))


def test_one_image_a_class_is_trained(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "data", counts={"train": 1, "valid": 1})
    result = fit(config_of(data, tmp_path / "out", freeze="stage3", batch_norm="trained", epochs=2))
    assert len(result.history) == 2


def test_ten_thousand_classes_are_trained(tmp_path: Path) -> None:
    classes, features = 10_000, 64
    targets = torch.arange(classes)
    values = nn.functional.normalize(torch.randn(classes, features, generator=torch.Generator().manual_seed(0)))
    source = StoredFeatures(values * features, targets)
    config = TrainingConfig(data=tmp_path, head="linear", batch_size=500, learning_rate=0.5, epochs=2)
    trained = train(TrainingTask(new_head(features, classes, config), lambda _epoch: source, source), config)
    assert trained.history[-1].valid_loss < trained.history[0].train_loss


@pytest.mark.parametrize("harm", ["cut short", pytest.param("deleted", marks=pytest.mark.slow)])
def test_an_image_that_breaks_while_training_is_named_and_the_epochs_so_far_are_kept(tmp_path: Path, harm: str) -> None:
    data = write_patterns(tmp_path / "data")
    victim = data / "train/001.Lying/0.png"
    content = victim.read_bytes()

    class Vandal(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            if epoch.epoch == 1:
                victim.unlink()
                if harm == "cut short":
                    victim.write_bytes(content[:60])

    config = config_of(data, tmp_path / "out", epochs=3, feature_cache=False)
    with pytest.raises(DataError, match=r"became unreadable during training: .*0\.png can't be (read|decoded)"):
        fit(config, hooks=[Vandal()])
    victim.write_bytes(content)
    assert [record.epoch for record in fit(config.replace(resume=True)).history] == [1, 2, 3]


def test_an_image_that_changes_after_it_was_read_changes_nothing(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "data")

    class Vandal(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            del epoch
            (data / "train/001.Lying/0.png").write_bytes(b"gone")

    result = fit(config_of(data, tmp_path / "out", epochs=3, cache_dir=tmp_path / "cache"), hooks=[Vandal()])
    assert len(result.history) == 3
