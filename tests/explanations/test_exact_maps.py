"""Exact class activation maps: they sum to the score, and are those that autograd finds in a plain network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from breedclf.explanations.explainer import Explainer
from tests.explanations.conftest import ClassifierOf, crops

POOLED = {"resnet18": "layer4", "timm:test_convnext": "norm_pre", "timm:tf_efficientnet_lite0": "bn2"}
"""Networks, and the module whose output is pooled."""


@pytest.mark.parametrize("architecture", POOLED)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 1e-3)])
def test_a_map_sums_to_the_score(
    classifier_of: ClassifierOf, architecture: str, precision: str, tolerance: float
) -> None:
    classifier = classifier_of(architecture, precision, crop_px=64)
    for explained in Explainer(classifier).explanations(crops(64), [0, 1, 2]):
        assert explained.is_exact
        assert explained.method == "class activation map"
        assert explained.values.dtype == "float32"
        assert abs(float(explained.values.sum()) + explained.bias - explained.score) < tolerance
        difference = explained.difference("Whippet")
        assert abs(float(difference.values.sum()) + difference.bias - difference.score) < tolerance
        assert abs(difference.score - (explained.score - explained.of("Whippet").score)) < 1e-5


@pytest.mark.parametrize("architecture", POOLED)
def test_a_map_is_gradient_times_activation_of_the_last_map(classifier_of: ClassifierOf, architecture: str) -> None:
    classifier = classifier_of(architecture, crop_px=64)
    network = classifier.torch_module()
    held: dict[str, Any] = {}
    network.get_submodule(POOLED[architecture]).register_forward_hook(lambda _module, _in, out: held.update(last=out))
    scores = network(classifier.preprocessing.normalize(crops(64)))
    for position, explained in enumerate(Explainer(classifier).explanations(crops(64), [1, 2, 3])):
        score = scores[position, position + 1]
        (gradient,) = torch.autograd.grad(score, held["last"], retain_graph=True)
        expected = (gradient[position] * held["last"][position]).sum(0)
        assert abs(explained.score - float(score.detach())) < 1e-3  # folded batch norms round
        if "convnext" not in architecture:  # whose norm also has a gradient through its deviation
            assert torch.allclose(torch.tensor(explained.values), expected, atol=1e-4, rtol=1e-3)
