"""Grad-CAM where a network has no exact map: hidden layers after pooling, or a class token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from breedclf.explanations.explainer import Explainer
from breedclf.explanations.network_parts import NetworkParts
from breedclf.explanations.place import place_of
from breedclf.explanations.readout import readout_of
from tests.explanations.conftest import ClassifierOf, crops
from tests.families.networks import SIDE_PX, with_attention


@pytest.mark.parametrize(
    ("architecture", "grid"), [("timm:test_vit", (10, 10)), ("timm:mobilenetv4_conv_small", (2, 2))]
)
def test_other_networks_have_grad_cam(classifier_of: ClassifierOf, architecture: str, grid: tuple[int, int]) -> None:
    side = 160 if "vit" in architecture else 64
    (explained,) = Explainer(classifier_of(architecture, crop_px=side)).explanations(crops(side)[:1], [1])
    assert not explained.is_exact
    assert explained.method == "Grad-CAM"
    assert explained.values.shape == grid
    assert abs(float(explained.values.sum()) + explained.bias - explained.score) < 1e-4
    difference = explained.difference("Beagle")
    assert abs(difference.values - (explained.values - explained.of("Beagle").values)).max() < 1e-6


def test_grad_cam_weights_channels_by_the_mean_gradient(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of("timm:mobilenetv4_conv_small", crop_px=64)
    network, held = classifier.torch_module(), dict[str, Any]()
    network.get_submodule("blocks").register_forward_hook(lambda _module, _in, out: held.update(last=out))
    score = network(classifier.preprocessing.normalize(crops(64)[:1]))[0, 2]
    (gradient,) = torch.autograd.grad(score, held["last"])
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * held["last"]).sum(1)[0].detach()
    (explained,) = Explainer(classifier).explanations(crops(64)[:1], [2])
    assert torch.allclose(torch.tensor(explained.values), expected, atol=1e-5)
    assert abs(explained.score - score.item()) < 1e-4


def test_a_swin_has_an_exact_readout_and_a_vit_the_tokens_of_its_last_block() -> None:
    image = torch.rand(1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))
    swin, vit = with_attention("swin"), with_attention("vit")
    swin.head = nn.Identity()
    parts = NetworkParts.of(swin.eval(), image)
    assert parts is not None
    readout = readout_of(parts, 8)
    assert readout is not None
    assert readout.grid == (8, 8)
    features, value = parts.showing(readout.node)(image)
    assert torch.allclose(readout.features(readout.positions(value[0])), features[0], atol=1e-5)
    place = place_of(vit.requires_grad_(False), image)
    assert place is not None
    assert place.grid == (2, 2)
    assert place.module is vit.get_submodule("encoder.dropout"), (
        "what enters the only block, with a class token before the patches"
    )


def test_a_network_whose_modules_return_no_map_has_no_place() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Linear(4, 2)).requires_grad_(False)
    assert place_of(network, torch.rand(1, 3, 8, 8)) is None
