"""A network cut into stages computes what the whole one does, for any number of images."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from breedclf.models.backbones.backbone import Backbone, find_backbone
from breedclf.models.head import ScaledLinear
from breedclf.models.tail import Tail, tail_input_shape, trunk
from breedclf.runtime.device import Compute

FP32 = Compute(torch.device("cpu"), "fp32")
FAMILIES = {
    "resnet18": (64, 5),
    "mobilenet_v3_small": (64, 5),
    "regnet_y_400mf": (64, 5),
    "swin_t": (64, 4),
    "shufflenet_v2_x0_5": (64, 4),
    "timm:vit_tiny_patch16_224": (224, 4),
    "timm:vit_small_patch16_dinov3": (64, 4),
    "timm:eva02_tiny_patch14_224": (224, 4),
    "timm:convnextv2_atto": (64, 4),
    "timm:mobilenetv4_conv_small": (64, 5),
    "timm:edgenext_xx_small": (64, 4),
}
"""The size of images in pixels, and the number of stages with the stem."""


@pytest.mark.parametrize("name", FAMILIES)
def test_trunk_and_tail_are_the_whole_network(name: str) -> None:
    side, count = FAMILIES[name]
    backbone = find_backbone(name)
    assert len(backbone.stages) == count
    state = {key: value.detach() for key, value in backbone.new_network(seed=0, classes=2).state_dict().items()}
    state = backbone.without_head(state)
    pictures = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = backbone.headless(state)(pictures)
    for freeze in ("last_stage", backbone.stages[1]):
        found, shape = features(backbone, state, freeze, pictures)
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4), freeze
        assert shape == tail_input_shape(backbone.at(side), freeze, side)


def features(
    backbone: Backbone, state: dict[str, torch.Tensor], freeze: str, pictures: torch.Tensor
) -> tuple[torch.Tensor, tuple[int, ...]]:
    backbone = backbone.at(pictures.shape[-1])
    head = ScaledLinear(backbone.features, 2)
    tail = Tail.of(backbone, state, freeze, head, fixed_statistics=True, compute=FP32).eval()
    copied = {name: value.clone() for name, value in state.items()}
    with torch.inference_mode():
        inputs = trunk(backbone, copied, freeze, FP32)(pictures)
        return tail.features(inputs), tuple(inputs.shape[1:])


def test_what_drops_at_random_does_so_in_training_only_and_checkpointing_draws_the_same() -> None:
    backbone = find_backbone("efficientnet_b0")
    state = backbone.without_head(backbone.new_network(seed=0, classes=2).state_dict())
    head = ScaledLinear(backbone.features, 2)
    inputs = torch.randn(4, *tail_input_shape(backbone.at(64), "stage4", 64))
    gradients = []
    for checkpointing in (False, True):
        tail = Tail.of(
            backbone, state, "stage4", head, fixed_statistics=True, compute=FP32, checkpointing=checkpointing
        )
        with torch.no_grad():
            assert torch.equal(tail.eval().features(inputs), tail.features(inputs))
            assert not torch.equal(tail.train().features(inputs), tail.features(inputs))
        torch.manual_seed(1)
        tail.features(inputs).square().sum().backward()
        gradients.append({name: each.grad for name, each in tail.body.named_parameters() if each.grad is not None})
    plain, recomputed = gradients
    assert plain.keys() == recomputed.keys() != set()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@pytest.mark.parametrize("name", ["convnext_tiny", "timm:vit_small_patch16_dinov3"])
def test_each_weight_belongs_to_one_stage(name: str) -> None:
    backbone = find_backbone(name)
    for weight, _ in backbone.empty_network(1).named_parameters():
        if not weight.startswith(backbone.head_prefix):
            assert len([segment for segment in backbone.segments if segment.owns(weight)]) == 1, weight


def test_stages_are_found_without_torchs_compiler() -> None:
    """It takes as long to load as the rest of torch and torchvision together."""
    code = (
        "import sys; from breedclf.models.backbones.backbone import find_backbone; find_backbone('resnet18').segments; "
        "find_backbone('timm:tf_efficientnet_lite0'); "
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
