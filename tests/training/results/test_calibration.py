"""The temperature finds the right scale, is careful with few images, and never makes the likelihood worse."""

from __future__ import annotations

import math

import pytest
import torch

from breedclf.training.results.calibration import Scores, calibration_of, fitted_temperature


def drawn(images: int, factor: float, seed: int = 0, classes: int = 4) -> Scores:
    """Scores whose softmax, with the factor taken away, is the probability with which each class is drawn."""
    generator = torch.Generator().manual_seed(seed)
    honest = 1.5 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    targets = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    return Scores(factor * honest, targets)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_many_images_give_the_scale_of_the_scores(factor: float) -> None:
    assert fitted_temperature(drawn(20_000, factor)) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("with_folds", [False, True])
def test_it_is_never_worse_on_validation_images(seed: int, with_folds: bool) -> None:
    valid = drawn(12, 2.0, seed)
    found = calibration_of(valid, drawn(30, 0.5, seed + 100) if with_folds else None)
    assert found.nll_after <= found.nll_before
    assert found.nll_after == pytest.approx(valid.nll(found.temperature))
    assert (found.images, found.source) == (12, "folds" if with_folds else "valid")


def test_a_few_images_that_are_all_right_do_not_make_the_model_certain() -> None:
    sure = Scores(torch.tensor([[2.0, 0.0]] * 8, dtype=torch.float64), torch.zeros(8, dtype=torch.int64))
    assert 0.3 < fitted_temperature(sure) < 1


def test_images_of_training_can_only_bring_it_nearer_to_1() -> None:
    valid = drawn(40, 3.0)
    alone = calibration_of(valid).temperature
    assert alone > 1.5
    agreeing = calibration_of(valid, drawn(500, 1.3)).temperature
    assert 1 < agreeing < alone
    assert calibration_of(valid, drawn(500, 5.0)).temperature == alone
    opposed = calibration_of(valid, drawn(2_000, 0.4))
    assert opposed.temperature == 1.0
    assert str(opposed).startswith("not calibrated: no temperature is surely better than 1")


def test_the_log_says_what_changed() -> None:
    found = calibration_of(drawn(2_000, 2.0))
    before, after = found.nll_before, found.nll_after
    assert str(found) == f"calibrated: NLL {before:.3f} -> {after:.3f}, temperature {found.temperature:.2f}"
    assert math.isfinite(before)
