"""Temperatures against scipy and pytorch-ood, calibration errors against torchmetrics, and conformal quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from breedclf.evaluation.reliability import expected_calibration_error
from breedclf.inference.conformal import MOST_QUANTILES, quantiles_of
from breedclf.training.results.calibration import Scores, fitted_temperature
from tests.oracles.conftest import Trained

stats = pytest.importorskip("scipy.stats", reason="make test-oracles runs this")
optimize = pytest.importorskip("scipy.optimize", reason="make test-oracles runs this")
ood = pytest.importorskip("pytorch_ood.utils.utils", reason="make test-oracles runs this")


def _random(confidence: float, seed: int = 0, images: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of images of 7 classes whose confidence is wrong by this factor."""
    draw = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(images, 7, generator=draw)
    targets = torch.multinomial(scores.softmax(1), 1, generator=draw).flatten()
    return scores * confidence, targets


def _most_probable(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """By scipy: the likelihood times a normal density with deviation 0.35 of the temperature's logarithm."""

    def cost(log: float) -> float:
        nll = F.cross_entropy(scores.double() / torch.tensor(log, dtype=torch.float64).exp(), targets)
        return float(nll) * len(targets) - stats.norm(0, 0.35).logpdf(log)

    return float(np.exp(optimize.minimize_scalar(cost, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x))


@pytest.mark.parametrize("confidence", [0.3, 0.8, 2.5, 9.0])
@pytest.mark.parametrize("images", [24, 300])
def test_the_most_probable_temperature(confidence: float, images: int) -> None:
    scores, targets = _random(confidence, images=images)
    assert fitted_temperature(Scores(scores, targets)) == pytest.approx(_most_probable(scores, targets), rel=1e-4)


@pytest.mark.parametrize("confidence", [0.8, 2.5])
def test_the_temperature_of_many_images_is_that_of_the_lowest_nll(confidence: float) -> None:
    scores, targets = _random(confidence, images=20_000)
    theirs = ood.temperature_calibration(scores, targets)
    assert fitted_temperature(Scores(scores, targets)) == pytest.approx(theirs, rel=2e-3)


def test_the_temperature_of_photos(hymenoptera: Trained) -> None:
    head = hymenoptera.classifier._head
    scores = hymenoptera.known @ head.weight.float().T + head.bias.float()
    found = fitted_temperature(Scores(scores, hymenoptera.targets))
    assert found == pytest.approx(_most_probable(scores, hymenoptera.targets), rel=1e-4)


@pytest.mark.parametrize("confidence", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("bins", [10, 15])
def test_the_expected_calibration_error(confidence: float, bins: int) -> None:
    classification = pytest.importorskip("torchmetrics.classification", reason="make test-oracles runs this")
    scores, targets = _random(confidence)
    probabilities = scores.softmax(1)
    metric = classification.MulticlassCalibrationError(num_classes=7, n_bins=bins, norm="l1")
    ours = expected_calibration_error(probabilities.numpy(), targets.numpy(), bins)
    assert ours == pytest.approx(float(metric(probabilities, targets)), abs=1e-6)


@pytest.mark.parametrize("images", [20, 99, 250, 2_000])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_the_conformal_quantile(images: int, coverage: float) -> None:
    """By the formula of Angelopoulos and Bates, which gives the rank; more than 256 scores are stored at distances."""
    draw = torch.Generator().manual_seed(images)
    probabilities = (3 * torch.randn(images, 5, generator=draw)).softmax(1)
    targets = torch.multinomial(probabilities, 1, generator=draw).flatten()
    scores = 1 - probabilities.double().numpy()[np.arange(images), targets.numpy()]
    exact = np.quantile(scores, np.ceil((images + 1) * coverage) / images, method="inverted_cdf")
    found = quantiles_of(probabilities, targets).limit(coverage)
    if images <= MOST_QUANTILES:
        assert found == pytest.approx(exact, abs=1e-12)
    else:
        assert exact <= found <= np.quantile(scores, coverage + 0.01)


def test_prediction_sets_cover_the_share_that_was_asked_for() -> None:
    """Over many halves of the same images, the mean coverage is that asked for, and at most 1/(n + 1) higher."""
    scores, targets = _random(1.5)
    probabilities = scores.softmax(1)
    draw, covered = torch.Generator().manual_seed(0), []
    for _ in range(300):
        rows = torch.randperm(len(targets), generator=draw)
        own, new = rows[:100], rows[100:]
        limit = quantiles_of(probabilities[own], targets[own]).limit(0.9)
        right = probabilities[new].double().gather(1, targets[new, None])[:, 0]
        covered.append(float((1 - right <= limit).double().mean()))
    assert 0.9 - 0.01 <= np.mean(covered) <= 0.9 + 1 / 101 + 0.01
