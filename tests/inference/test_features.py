"""The features of images, and the plain network with gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

from breedclf import ArtifactError, Classifier
from breedclf.data.image_source import EncodedImages
from breedclf.data.split import ImageFiles
from breedclf.features.extraction import FeatureExtractor
from breedclf.models.network import frozen_backbone
from tests.serving.conftest import write_tiny_model


def test_features_are_those_of_training_to_the_bit(classifier: Classifier, photos: list[Path]) -> None:
    state = load_file(classifier.artifact / "model.safetensors")
    backbone = {name: value for name, value in state.items() if not name.startswith("fc.")}
    extractor = FeatureExtractor(
        make_backbone=lambda: frozen_backbone("resnet18", backbone, classifier.compute),
        preprocessing=classifier.preprocessing,
        compute=classifier.compute,
        weights_fingerprint="",
        chunk_size=classifier.batch_size,
    )
    features = classifier.features(photos)
    assert features.dtype == torch.float32
    assert torch.equal(features, extractor.extract(EncodedImages(ImageFiles(photos))).values.float())
    assert torch.equal(classifier.features(iter(photos)), features)
    assert torch.allclose(classifier.features(photos[0]), features[:1], atol=1e-5)
    head = torch.nn.functional.linear(features, state["fc.weight"], state["fc.bias"])
    assert torch.allclose(torch.softmax(head, 1), classifier.probabilities(photos), atol=1e-6)


def test_the_plain_module_has_torchvisions_names_gradients_and_the_same_scores(
    classifier: Classifier, photos: list[Path]
) -> None:
    module = classifier.torch_module()
    assert not module.training
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    resnet18(num_classes=7).load_state_dict(module.state_dict())
    inputs = classifier.inputs(photos).requires_grad_(True)
    scores = module(inputs)
    assert torch.allclose(torch.softmax(scores, 1), classifier.probabilities(photos), atol=1e-4)
    scores[:, 0].sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().amax((1, 2, 3)).min() > 0
    weights = next(module.parameters())
    assert weights.grad is not None and weights.grad.abs().max() > 0


def test_the_plain_module_is_an_independent_copy(classifier: Classifier, photos: list[Path]) -> None:
    before = classifier.probabilities(photos)
    module = classifier.torch_module()
    with torch.no_grad():
        for weights in module.parameters():
            weights.zero_()
    assert torch.equal(classifier.probabilities(photos), before)
    assert next(classifier.torch_module().parameters()).abs().max() > 0


def test_the_plain_module_of_a_replaced_model_is_refused(tmp_path: Path) -> None:
    classifier = Classifier(write_tiny_model(tmp_path / "model"))
    write_tiny_model(tmp_path / "model", seed=1)
    with pytest.raises(ArtifactError, match="was replaced by another model since it was loaded"):
        classifier.torch_module()
    save_file({}, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ArtifactError, match="is damaged or was replaced"):
        classifier.torch_module()


def test_the_fused_network_is_deprecated(classifier: Classifier) -> None:
    with pytest.warns(DeprecationWarning, match="has no gradients; use Classifier.torch_module"):
        assert classifier.network is classifier._network
