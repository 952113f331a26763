"""The weights of a model directory are torchvision's and timm's own: each library alone computes the same scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from breedclf import Classifier
from tests.families.conftest import Train


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "regnet_y_400mf", pytest.param("swin_t", marks=pytest.mark.slow)]
)
def test_torchvision_alone_computes_the_scores(train: Train, images: Path, name: str) -> None:
    classifier = Classifier(train(name).artifact, device="cpu", precision="fp32")
    network = torchvision.models.get_model(name, num_classes=2)
    network.load_state_dict(load_file(classifier.artifact / "model.safetensors"), strict=True)
    assert_same_scores(network, classifier, images)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "tf_efficientnet_lite0"])
def test_timm_alone_computes_the_scores(train: Train, images: Path, name: str) -> None:
    timm = pytest.importorskip("timm")
    classifier = Classifier(train(f"timm:{name}").artifact, device="cpu", precision="fp32")
    network = timm.create_model(name, num_classes=2)
    network.load_state_dict(load_file(classifier.artifact / "model.safetensors"), strict=True)
    assert_same_scores(network, classifier, images)


def assert_same_scores(network: torch.nn.Module, classifier: Classifier, images: Path) -> None:
    inputs = classifier.inputs(sorted((images / "test").rglob("*.jpg")))
    with torch.inference_mode():
        assert torch.equal(network.eval()(inputs), classifier.torch_module()(inputs))
