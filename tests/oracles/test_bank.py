"""Distances to a feature bank, and how well they separate, against pytorch-ood."""

from __future__ import annotations

import pytest
import torch

from breedclf.inference.feature_bank import FeatureBank
from breedclf.training.results.bank import NEIGHBOR
from tests.oracles.conftest import Trained

detectors = pytest.importorskip("pytorch_ood.detector", reason="make test-oracles runs this")


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
