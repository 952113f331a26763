"""Hooks: what they receive, what happens when one fails, and that they are closed in every case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from breedclf import Trainer, TrainingConfig
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.training.valid_predictions import ScoreCollector, ValidPredictions
from tests.integration.conftest import QUICK, write_patterns


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("hooks") / "pictures", counts={"train": 4, "valid": 3})


def trainer(pictures: Path, output: Path, **settings: Any) -> Trainer:
    return Trainer(TrainingConfig(data=pictures, output=output, **{**QUICK, "profile": "off", "epochs": 2, **settings}))


class Outputs(TrainingHook):
    def __init__(self) -> None:
        self.seen: list[tuple[EpochRecord, ValidPredictions]] = []

    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions) -> None:
        self.seen.append((epoch, predictions))


@pytest.mark.parametrize("settings", [{}, {"feature_cache": False}], ids=["cached", "streamed"])
def test_predictions_of_each_epoch_agree_with_its_record_and_with_the_model(
    pictures: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    outputs = Outputs()
    result = trainer(pictures, tmp_path / "out", **settings).fit(hooks=[outputs])
    assert [epoch for epoch, _ in outputs.seen] == result.history
    for epoch, predictions in outputs.seen:
        assert predictions.labels == ("001.Lying", "002.Standing")
        assert predictions.probabilities.dtype == torch.float32
        assert predictions.targets.tolist() == [0, 0, 0, 1, 1, 1]
        assert predictions.is_correct.double().mean().item() == epoch.valid_accuracy
        of_targets = predictions.probabilities[torch.arange(6), predictions.targets]
        assert -of_targets.double().log().mean().item() == pytest.approx(epoch.valid_loss, rel=1e-4)
    _, best = outputs.seen[result.best_epoch - 1]
    assert [Path(name).parent.name for name in best.images] == ["001.Lying"] * 3 + ["002.Standing"] * 3
    for name, row in zip(best.images, best.probabilities, strict=True):
        answer = {each.label: each.probability for each in result.classifier.predict(name).top(2)}
        assert [answer[label] for label in best.labels] == pytest.approx(row.tolist(), abs=0.02)


def test_predictions_leave_out_images_that_cannot_be_read(tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "pictures", counts={"train": 4, "valid": 3})
    (pictures / "valid/001.Lying/1.png").write_bytes(b"no image")
    outputs = Outputs()
    trainer(pictures, tmp_path / "out", epochs=1, on_bad_image="skip").fit(hooks=[outputs])
    ((_, predictions),) = outputs.seen
    assert [Path(name).name for name in predictions.images] == ["0.png", "2.png", "0.png", "1.png", "2.png"]
    assert predictions.targets.tolist() == [0, 0, 1, 1, 1]


def test_predictions_are_collected_only_for_hooks_that_use_them(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("collected")

    monkeypatch.setattr(ScoreCollector, "add", refuse)
    trainer(pictures, tmp_path / "out").fit(hooks=[TrainingHook()])
    with pytest.raises(AssertionError, match="collected"):
        trainer(pictures, tmp_path / "out").fit(hooks=[Outputs()])


def test_predictions_do_not_change_what_is_trained(pictures: Path, tmp_path: Path) -> None:
    without = trainer(pictures, tmp_path / "without", deterministic=True).fit()
    with_them = trainer(pictures, tmp_path / "with", deterministic=True).fit(hooks=[Outputs()])
    names = ("model.safetensors",)
    assert [(without.artifact / name).read_bytes() for name in names] == [
        (with_them.artifact / name).read_bytes() for name in names
    ]
