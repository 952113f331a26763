"""Maps against captum: exact ones on photos with pretrained weights, and Grad-CAM of networks that need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from breedclf import Classifier
from breedclf.data.preprocessing import Preprocessing
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from tests.oracles.conftest import Trained, photos
from tests.serving.conftest import draw

captum = pytest.importorskip("captum.attr", reason="make test-oracles runs this")


def _grad_cam(network: nn.Module, layer: nn.Module, inputs: torch.Tensor, target: int) -> npt.NDArray[np.float32]:
    found = captum.LayerGradCam(network, layer).attribute(inputs, target, relu_attributions=False)
    return found.detach()[0, 0].numpy()


@pytest.mark.parametrize("number", [0, 20, 49])
@pytest.mark.parametrize("target", [0, 1])
def test_exact_maps_of_photos_are_those_of_grad_cam(
    hymenoptera: Trained, shared_data: Path, number: int, target: int
) -> None:
    """For average pooling and a linear layer both are the same: the gradient is the weight by the number of places."""
    classifier = hymenoptera.classifier
    photo = photos(shared_data / "hymenoptera" / "test")[number]
    network, inputs = classifier.torch_module(), classifier.inputs(photo)
    explanation = classifier.explain(photo, classifier.class_names[target])
    assert explanation.is_exact
    oracle = _grad_cam(network, network.layer4, inputs, target)
    np.testing.assert_allclose(explanation.values, oracle, rtol=0, atol=1e-5 + 1e-4 * abs(oracle).max())
    assert explanation.score == pytest.approx(float(network(inputs)[0, target].detach()), abs=1e-4)
    assert float(explanation.values.sum()) + explanation.bias == pytest.approx(explanation.score, abs=1e-4)


def test_exact_maps_are_the_gradient_times_the_activation(hymenoptera: Trained, shared_data: Path) -> None:
    classifier = hymenoptera.classifier
    photo = photos(shared_data / "hymenoptera" / "test")[7]
    network = classifier.torch_module()
    attribution = captum.LayerGradientXActivation(network, network.layer4).attribute(classifier.inputs(photo), 1)
    oracle = attribution.detach()[0].sum(0).numpy()
    found = classifier.explain(photo, classifier.class_names[1]).values
    np.testing.assert_allclose(found, oracle, rtol=0, atol=1e-5 + 1e-4 * abs(oracle).max())


def test_grad_cam_of_a_network_with_layers_after_the_pooling(tmp_path: Path) -> None:
    architecture, side_px = "mobilenet_v3_small", 96
    card = {
        "architecture": architecture,
        "labels": ("a", "b", "c"),
        "class_names": ("a", "b", "c"),
        "preprocessing": Preprocessing(resize_px=side_px, crop_px=side_px),
    }
    state = find_backbone(architecture).new_network(seed=0, classes=3).state_dict()
    write_artifact(tmp_path / "model", card, state)
    classifier = Classifier(tmp_path / "model", device="cpu", precision="fp32")
    image = draw(3, width=side_px, height=side_px)
    network = classifier.torch_module()
    for target, name in enumerate("abc"):
        explanation = classifier.explain(image, name)
        assert explanation.method == "Grad-CAM" and not explanation.is_exact
        oracle = _grad_cam(network, network.features, classifier.inputs(image), target)
        np.testing.assert_allclose(explanation.values, oracle, rtol=0, atol=1e-6 + 1e-4 * abs(oracle).max())
