"""What a run saves besides weights: it leaves training alone, and says what the saved model really does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.inference.feature_bank import BANK_FILE
from breedclf.inference.model_directory import read_card
from breedclf.training.fit import FitResult, fit
from breedclf.training.results.best_model import BestModelKeeper
from tests.integration.conftest import RESNET, write_patterns


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("data"), counts={"train": 16, "valid": 6})


def settings(data: Path, output: Path, **others: object) -> TrainingConfig:
    values: dict[str, Any] = {**RESNET, "epochs": 2, "precision": "fp32", **others}
    return TrainingConfig(data=data, output=output, **values)


def head_of(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    state = load_file(folder / "model.safetensors")
    return state["fc.weight"], state["fc.bias"]


def test_switched_off_there_is_neither_and_training_is_the_same(patterns: Path, tmp_path: Path) -> None:
    on = Trainer(settings(patterns, tmp_path / "on")).fit()
    off = Trainer(settings(patterns, tmp_path / "off", calibration=False, feature_bank=False)).fit()
    assert [each.valid_loss for each in on.history] == [each.valid_loss for each in off.history]
    card, plain = read_card(on.artifact), read_card(off.artifact)
    assert (plain.calibration, plain.conformal, plain.feature_bank) == (None, None, None)
    assert {path.name for path in off.artifact.iterdir()} == {"model.safetensors", "breedclf.json", "README.md"}
    assert card.calibration is not None
    assert card.feature_bank is not None
    assert card.calibration.nll_before == pytest.approx(on.best.valid_loss, rel=1e-3)
    for divided, weight in zip(head_of(on.artifact), head_of(off.artifact), strict=True):
        assert torch.allclose(divided * card.calibration.temperature, weight, rtol=1e-5)


@pytest.mark.parametrize(
    "others",
    [
        {},
        pytest.param({"freeze": "last_stage"}, marks=pytest.mark.slow),
        pytest.param({"views": 2, "augment": "crop"}, marks=pytest.mark.slow),
        pytest.param({"feature_cache": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_saved_model_has_the_likelihood_and_the_distances_that_its_card_says(
    patterns: Path, tmp_path: Path, others: dict[str, object]
) -> None:
    result = Trainer(settings(patterns, tmp_path / "out", **others)).fit()
    card = read_card(result.artifact)
    assert card.calibration is not None
    assert card.conformal is not None
    assert card.feature_bank is not None
    classifier = Classifier(result.artifact, precision="fp32")
    valid = sorted((patterns / "valid").rglob("*.png"))
    targets = torch.tensor([card.labels.index(path.parent.name) for path in valid])
    nll = -classifier.probabilities(valid)[torch.arange(12), targets].log().mean()
    assert float(nll) == pytest.approx(card.calibration.nll_after, abs=2e-3)
    assert card.conformal.images == 12
    known = classifier.predict([*sorted((patterns / "train").rglob("*.png")), *valid])
    assert (card.feature_bank.images, card.feature_bank.limited_on_images) == (44, 44)
    assert 0.95 * 44 <= sum(each.known for each in known) <= 44
    assert all(each.known == ((each.distance or 0) <= card.feature_bank.threshold) for each in known)
    covered = classifier.predict(valid, coverage=0.9)
    assert all(each.prediction_set for each in covered)


def test_the_model_that_is_saved_meanwhile_does_not_change_the_training(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[FitResult] = []
    config = settings(patterns, tmp_path / "alone", epochs=4, learning_rate=0.5, ema=0.5)
    alone = fit(config)
    monkeypatch.setattr("breedclf.training.results.best_model._FIRST_SECONDS", 0)
    monkeypatch.setattr(BestModelKeeper, "__call__", lambda keeper, trained: keeper._write(trained))
    kept = fit(config.replace(output=tmp_path / "kept"), on_best=saved.append)
    assert len(saved) == 3
    assert [each.train_loss for each in kept.history] == [each.train_loss for each in alone.history]


def test_a_continued_model_starts_with_the_scores_it_was_trained_with(patterns: Path, tmp_path: Path) -> None:
    first = Trainer(settings(patterns, tmp_path / "first")).fit()
    temperature = read_card(first.artifact).calibration
    assert temperature is not None
    assert temperature.temperature != 1
    config = TrainingConfig(
        data=patterns, output=tmp_path / "second", start_from=first.artifact, epochs=1, precision="fp32"
    )
    again = Trainer(config).fit()
    assert again.before is not None
    assert again.before.valid_loss == pytest.approx(first.best.valid_loss, rel=1e-3)
    second = read_card(again.artifact).calibration
    assert second is not None
    assert second.source == "valid"


def test_the_bank_lies_beside_the_weights(patterns: Path, tmp_path: Path) -> None:
    result = Trainer(settings(patterns, tmp_path / "out", calibration=False)).fit()
    assert (result.artifact / BANK_FILE).is_file()
    assert read_card(result.artifact).calibration is None
