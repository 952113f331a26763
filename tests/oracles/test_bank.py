"""Distances to a feature bank, and how well they separate, against pytorch-ood."""

from __future__ import annotations

import pytest
import torch

from breedclf.evaluation import unknown
from breedclf.inference.feature_bank import FeatureBank
from breedclf.training.results.bank import NEIGHBOR
from tests.oracles.conftest import Trained

detectors = pytest.importorskip("pytorch_ood.detector", reason="make test-oracles runs this")
metrics = pytest.importorskip("pytorch_ood.metrics", reason="make test-oracles runs this")


def _oracle(rows: torch.Tensor, features: torch.Tensor, neighbor: int) -> torch.Tensor:
    """Of unit vectors, half of the squared Euclidean distance is 1 minus the cosine similarity."""
    knn = detectors.KNN(None, k=neighbor).fit_features(rows.float(), torch.zeros(len(rows)))
    return (knn.predict_features(features).square() / 2).float()


@pytest.mark.parametrize("neighbor", [1, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_distance_to_the_kth_neighbor_of_random_features(neighbor: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(neighbor)
    rows, features = (torch.randn(count, 64, generator=draw) for count in (40, 25))
    bank = FeatureBank(FeatureBank(torch.empty(0), 1).projected(rows).to(dtype), neighbor)
    torch.testing.assert_close(bank.distances(features), _oracle(bank.rows, features, neighbor), rtol=0, atol=1e-3)
    if dtype is torch.float32:
        torch.testing.assert_close(bank.distances(features), _oracle(rows, features, neighbor), rtol=0, atol=1e-6)


def test_the_distance_of_photos(hymenoptera: Trained) -> None:
    bank = hymenoptera.classifier._bank
    assert bank is not None and bank.neighbor == NEIGHBOR
    for features in (hymenoptera.known, hymenoptera.unlike):
        oracle = _oracle(hymenoptera.bank, bank.projected(features), NEIGHBOR)
        torch.testing.assert_close(
            bank.distances(features), oracle, rtol=0, atol=1e-4
        )  # float16 rows aren't quite of unit length


def _metrics(known: torch.Tensor, unlike: torch.Tensor, share: float) -> tuple[float, float]:
    """The AUROC, and the share of `unlike` below the distance that keeps this share of `known`."""
    labels = torch.cat([torch.zeros(len(known)), -torch.ones(len(unlike))])
    distances = torch.cat([known, unlike])
    (area,) = metrics.AUROC().update(distances, labels).compute().values()
    # The images to keep are the positive ones here: those that aren't known, by similarity.
    (let_through,) = metrics.FPRAtTPR(share).update(-distances, -1 - labels).compute().values()
    return float(area), float(let_through)


def _check(known: torch.Tensor, unlike: torch.Tensor) -> None:
    own, others = known.numpy(), unlike.numpy()
    points = unknown.curve(own, others, 0.0, points=10_000)
    for share in (0.5, 0.8, 0.95):
        area, let_through = _metrics(known, unlike, share)
        assert unknown.auroc(own, others) == pytest.approx(area, abs=1e-6)
        assert next(point.let_through for point in points if point.kept >= share) == pytest.approx(let_through)


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_how_well_random_distances_separate(shift: float) -> None:
    draw = torch.Generator().manual_seed(7)
    _check(*(torch.randn(count, generator=draw).mul(10).round() / 10 + add for count, add in ((80, 0), (60, shift))))


def test_how_well_distances_of_photos_separate(hymenoptera: Trained) -> None:
    bank = hymenoptera.classifier._bank
    assert bank is not None
    known, unlike = bank.distances(hymenoptera.known), bank.distances(hymenoptera.unlike)
    _check(known, unlike)
    assert _metrics(known, unlike, 0.95)[0] > 0.95
