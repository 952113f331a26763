"""Temperatures against scipy and pytorch-ood, on scores of real photos and on random ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from breedclf.training.results.calibration import fitted_temperature, nll
from tests.oracles.conftest import Trained

optimize = pytest.importorskip("scipy.optimize", reason="make test-oracles runs this")
ood = pytest.importorskip("pytorch_ood.utils.utils", reason="make test-oracles runs this")


def _random(confidence: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of 300 images of 7 classes whose confidence is wrong by this factor."""
    draw = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(300, 7, generator=draw)
    targets = torch.multinomial(scores.softmax(1), 1, generator=draw).flatten()
    return scores * confidence, targets


@pytest.mark.parametrize("confidence", [0.3, 0.8, 2.5, 9.0])
def test_the_temperature_with_the_lowest_nll(confidence: float) -> None:
    scores, targets = _random(confidence)
    found = optimize.minimize_scalar(
        lambda log: float(F.cross_entropy(scores.double() / torch.tensor(log).exp(), targets)),
        bounds=(-3, 3),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert fitted_temperature(scores, targets) == pytest.approx(torch.tensor(found.x).exp().item(), rel=1e-4)
    assert nll(scores, targets, fitted_temperature(scores, targets)) == pytest.approx(found.fun, abs=1e-9)


def test_the_temperature_of_a_search_by_gradients() -> None:
    scores, targets = _random(2.5)
    assert fitted_temperature(scores, targets) == pytest.approx(ood.temperature_calibration(scores, targets), abs=1e-3)


def test_the_temperature_of_photos(hymenoptera: Trained) -> None:
    head = hymenoptera.classifier._head
    scores = hymenoptera.known @ head.weight.float().T + head.bias.float()
    ours, theirs = (
        fitted_temperature(scores, hymenoptera.targets),
        ood.temperature_calibration(scores, hymenoptera.targets, lower=0.05, upper=20.0),
    )
    assert ours == pytest.approx(theirs, abs=2e-3)
