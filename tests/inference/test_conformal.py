"""Prediction sets: their coverage, what they contain, and when they are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.inference.conformal import MOST_QUANTILES, ConformalQuantiles, prediction_set, quantiles_of, stored_ranks
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.prediction import Prediction, RankedClass


def drawn(images: int, classes: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities whose scores come from a noisy classifier, and the right classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (images,), generator=generator)
    scores = torch.randn(images, classes, generator=generator)
    scores[torch.arange(images), targets] += 1
    return scores.softmax(1), targets


def card(conformal: ConformalQuantiles | None, classes: int = 5) -> ModelCard:
    return ModelCard(
        architecture="resnet18",
        labels=tuple(f"{number}.Class" for number in range(classes)),
        class_names=tuple(f"Class {number}" for number in range(classes)),
        preprocessing=Preprocessing(),
        weights_sha256="0" * 64,
        conformal=conformal,
    )


@pytest.mark.parametrize("images", [60, 256, 257, 1_000])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_new_images_are_covered_as_often_as_asked(images: int, coverage: float) -> None:
    covered = []
    for seed in range(150):
        model = card(quantiles_of(*drawn(images, seed=seed)))
        probabilities, targets = drawn(20, seed=10_000 + seed)
        sets = [prediction_set(model, row, coverage) for row in probabilities]
        covered += [
            f"{target}.Class" in {each.label for each in found} for target, found in zip(targets, sets, strict=True)
        ]
    share, error = sum(covered) / len(covered), math.sqrt(coverage * (1 - coverage) / len(covered))
    assert coverage - 4 * error <= share <= coverage + 0.05


def test_a_set_has_the_fewest_classes_most_probable_first() -> None:
    model = card(ConformalQuantiles(scores=tuple(number / 10 for number in range(1, 10)), images=9))
    row = torch.tensor([0.1, 0.45, 0.05, 0.3, 0.1])
    assert [each.class_name for each in prediction_set(model, row, 0.7)] == ["Class 1", "Class 3"]  # limit 0.7
    assert [each.class_name for each in prediction_set(model, row, 0.5)] == ["Class 1"]  # limit 0.5: the best one stays
    assert len(prediction_set(model, row, 0.9)) == 4  # limit 0.9


def test_stored_scores_never_cover_less_than_all_of_them_would() -> None:
    probabilities, targets = drawn(3_000)
    every = (1 - probabilities.double()[torch.arange(3_000), targets]).sort().values
    stored = quantiles_of(probabilities, targets)
    assert len(stored.scores) == MOST_QUANTILES
    for coverage in (0.01, 0.5, 0.9, 0.99, 0.9995):
        exact = float(every[math.ceil(3_001 * coverage) - 1])
        above = float(every[min(2_999, math.ceil(3_001 * coverage) - 1 + 3_000 // MOST_QUANTILES)])
        assert exact <= stored.limit(coverage) <= above
    assert stored_ranks(3_000)[-1] == 3_000


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (0.9, r"coverage=0\.9 needs at least 9 validation images, .* trained with 8: ask for at most 0\.888"),
        (0.0, r"coverage=0: choose a share between 0 and 1"),
        (1.0, r"coverage=1: choose a share between 0 and 1"),
        (math.nan, r"coverage=nan: choose a share"),
    ],
)
def test_a_coverage_that_the_images_cannot_promise_is_refused(coverage: float, message: str) -> None:
    model = card(quantiles_of(*drawn(8)))
    with pytest.raises(ConfigError, match=message):
        prediction_set(model, torch.full((5,), 0.2), coverage)
    assert len(prediction_set(model, torch.full((5,), 0.2), 0.888)) >= 1


def test_a_model_without_quantiles_has_no_sets() -> None:
    with pytest.raises(ConfigError, match=r"coverage=0\.9: the model has no quantiles .* calibration=False"):
        prediction_set(card(None), torch.full((5,), 0.2), 0.9)


def test_the_card_keeps_its_quantiles() -> None:
    model = card(quantiles_of(*drawn(40)))
    assert ModelCard.parse(model.model_dump_json(), Path("card")).conformal == model.conformal


def test_a_prediction_gives_its_set_as_json() -> None:
    best, second = RankedClass("Beagle", "1.Beagle", 0.75), RankedClass("Harrier", "2.Harrier", 0.25)
    prediction = Prediction((best, second), prediction_set=(best,))
    assert prediction.to_dict()["prediction_set"] == [best.to_dict()]
    assert Prediction.from_dict(prediction.to_dict()) == prediction
    assert "prediction_set" not in Prediction((best, second)).to_dict()
