"""Fused networks answer as plain ones do, and are still seen by whoever looks at activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from breedclf.config import Architecture
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.fused_ops import FusedBlock, can_fuse, fuse
from breedclf.models.network import frozen_backbone
from breedclf.profiling.tensor_watch import TensorWatch
from breedclf.runtime.device import Compute

needs_fusing = pytest.mark.skipif(not can_fuse(torch.device("cpu")), reason="this torch has no fused operations")


def state_of(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Weights whose batch norms do something, unlike those of a new network."""
    network = find_backbone(architecture).new_network(seed=3)
    draw = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=draw) * 0.1
            module.running_var = torch.rand(module.num_features, generator=draw) + 0.5
    return network.state_dict()


def backbone(state: dict[str, torch.Tensor], architecture: Architecture, precision: str) -> nn.Module:
    kept = {name: value.clone() for name, value in state.items() if not name.startswith("fc.")}
    return frozen_backbone(architecture, kept, Compute(torch.device("cpu"), precision))


@needs_fusing
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_features_are_those_of_the_plain_network(architecture: Architecture, precision: str, most: float) -> None:
    """Also in bf16 on a processor that has none, where nothing is fused."""
    state = state_of(architecture)
    plain = find_backbone(architecture).network_from(dict(state))
    plain.fc = nn.Identity()
    fused = backbone(state, architecture, precision)
    fuses = can_fuse(torch.device("cpu"), dtype=Compute(torch.device("cpu"), precision).dtype)
    assert any(isinstance(module, FusedBlock) for module in fused.modules()) == fuses
    pictures = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    kept = pictures.clone()
    with torch.inference_mode():
        wanted = plain(pictures)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        found = fused(pictures.to(dtype).contiguous(memory_format=torch.channels_last)).float()
    assert (found - wanted).norm() / wanted.norm() < most
    assert torch.equal(pictures, kept)


@needs_fusing
def test_a_pass_leaves_nothing_behind_that_changes_the_next() -> None:
    fused = backbone(state_of("resnet18"), "resnet18", "fp32")
    pictures = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(fused(pictures), fused(pictures))


@needs_fusing
def test_activations_are_seen_after_each_fused_relu() -> None:
    fused = backbone(state_of("resnet18"), "resnet18", "fp32")
    watch = TensorWatch(every=1)
    watch.watch(fused, None)
    watch.due(0)
    with torch.inference_mode():
        fused(torch.randn(1, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    watch.close()
    seen = {series.name for series in watch.series() if series.kind == "activation"}
    assert len(seen) == 1 + 8 * 2  # the first convolution, and two in each of eight blocks; no shortcut
    assert {"conv1", "layer1.0.conv1", "layer4.1.conv2"} <= seen


@needs_fusing
def test_a_processor_without_bf16_keeps_the_plain_network_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda there=there: there)
        assert can_fuse(torch.device("cpu"), dtype=torch.bfloat16) == there
        assert can_fuse(torch.device("cpu"))


def test_other_devices_keep_the_plain_network() -> None:
    assert not can_fuse(torch.device("cuda"))
    assert not can_fuse(torch.device("mps"))


@needs_fusing
def test_fusing_keeps_the_names_of_the_layers() -> None:
    names = dict(fuse(find_backbone("resnet18").network_from(state_of("resnet18"))).named_modules())
    assert "layer2.0.downsample" in names
    assert "fc" in names


def test_weights_that_are_no_numbers_are_not_hidden() -> None:
    state = state_of("resnet18")
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    broken = backbone(state, "resnet18", "fp32")
    with torch.inference_mode():
        assert broken(torch.randn(1, 3, 64, 64)).isnan().any()
