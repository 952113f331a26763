"""Whitened features: the matrix, a head on them, and its plain layer."""

from __future__ import annotations

import torch

from breedclf import TrainingConfig
from breedclf.features.extraction import StoredFeatures
from breedclf.models.head import Scaling, new_head
from breedclf.models.whitening import whitening_of

WHITENED = TrainingConfig(data="x", head="whitened")


def correlated(count: int, *, seed: int = 0) -> StoredFeatures:
    """Features [count, 6] of three classes, whose means differ and whose columns are correlated."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 3
    mixed = torch.randn(count, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    return StoredFeatures(mixed + 3 * torch.eye(6)[targets] + 5, targets)


def test_the_covariance_within_classes_becomes_nearly_that_of_independent_features() -> None:
    source = correlated(3_000)
    scaling = Scaling.of(source, 256)
    whitening = whitening_of(source, torch.arange(3_000), 256, scaling)

    def off_diagonal(features: torch.Tensor) -> float:
        rest = torch.cat([part - part.mean(0) for part in (features[source.targets == each] for each in range(3))])
        correlation = torch.corrcoef(rest.T)
        return float((correlation - torch.eye(6)).abs().mean())

    before, after = off_diagonal(source.values), off_diagonal(scaling(source.values) @ whitening)
    assert after < 0.95 * before


def test_few_images_of_each_class_give_a_matrix_near_the_identity() -> None:
    source = correlated(3)
    whitening = whitening_of(source, torch.arange(3), 256, Scaling.of(source, 256))
    assert torch.allclose(whitening, torch.eye(6), atol=1e-6)


def test_the_plain_layer_gives_the_scores_of_the_whitened_head_and_back() -> None:
    source = correlated(300)
    head = new_head(6, 3, WHITENED)
    scaling = Scaling.of(source, 256)
    head.use(scaling, whitening_of(source, torch.arange(300), 256, scaling))
    with torch.no_grad():
        head.weight.copy_(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)))
        scores = head(source.values)
        plain = head.folded()
        assert torch.allclose(plain(source.values), scores, atol=1e-4)
        other = new_head(6, 3, WHITENED)
        other.load_state_dict(head.state_dict())
        other.load_folded(plain.weight, plain.bias)
        assert torch.allclose(other(source.values), scores, atol=1e-3)
