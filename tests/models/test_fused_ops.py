"""Fused networks answer as plain ones do, and are still seen by whoever looks at activations."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.backbones.graph import graph_of
from breedclf.models.fused_ops import FusedConv, FusedLinear, can_fuse
from breedclf.models.network import for_inference, frozen_backbone
from breedclf.profiling.tensor_watch import TensorWatch
from breedclf.runtime.device import Compute

SMALL = (
    "mobilenet_v3_small",
    "timm:tf_efficientnet_lite0",
    "timm:mobilenetv4_conv_small",
    "shufflenet_v2_x0_5",
)
needs_fusing = pytest.mark.skipif(not can_fuse(torch.device("cpu")), reason="this torch has no fused operations")


def state_of(architecture: str) -> dict[str, torch.Tensor]:
    """Weights whose batch norms do something, unlike those of a new network."""
    network = find_backbone(architecture).new_network(seed=3)
    draw = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=draw) * 0.1
            module.running_var = torch.rand(module.num_features, generator=draw) + 0.5
    return network.state_dict()


def backbone(state: dict[str, torch.Tensor], architecture: str, precision: str) -> nn.Module:
    return frozen_backbone(architecture, headless(state, architecture), Compute(torch.device("cpu"), precision))


def headless(state: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in find_backbone(architecture).without_head(state).items()}


@needs_fusing
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", *SMALL])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_features_are_those_of_the_plain_network(architecture: str, precision: str, most: float) -> None:
    """Also in bf16 on a processor that has none, where nothing is fused."""
    state = state_of(architecture)
    plain = find_backbone(architecture).headless(headless(state, architecture))
    fused = backbone(state, architecture, precision)
    fuses = can_fuse(torch.device("cpu"), dtype=Compute(torch.device("cpu"), precision).dtype)
    assert any(isinstance(module, FusedConv) for module in fused.modules()) == fuses
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
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
    names = dict(backbone(state_of("resnet18"), "resnet18", "fp32").named_modules())
    assert isinstance(names["layer2.0.downsample.0"], FusedConv)
    assert isinstance(names["layer2.0.conv2"], FusedConv)


class Odd(nn.Module):
    """Reads what it adds again later, adds to its own input, broadcasts, and shares a layer: none may be spoiled."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.act = nn.ReLU(inplace=True)
        self.linear = nn.Linear(8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.first(images)
        view = first.flatten(2)
        summed = self.act(self.second(first) + first)
        again = self.shared(summed) + self.shared(first)
        mean = again.mean((2, 3), keepdim=True)
        wide = self.linear(again.permute(0, 2, 3, 1)) + mean.permute(0, 2, 3, 1)
        return torch.cat([view.mean(2), first.mean((2, 3)), wide.mean((1, 2))], 1)


@needs_fusing
def test_what_is_still_needed_is_not_overwritten() -> None:
    torch.manual_seed(0)
    network = Odd().eval()
    pictures = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        wanted = network(pictures)
        fused = for_inference(copy.deepcopy(network), Compute(torch.device("cpu"), "fp32"))
        assert torch.allclose(fused(pictures), wanted, atol=1e-5)
    assert isinstance(fused.second, FusedConv)
    assert isinstance(fused.linear, FusedLinear)
    assert isinstance(fused.shared, nn.Conv2d)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.bn(self.conv(images)).mean((2, 3))
        return values if values.sum() > 0 else -values


def test_a_network_whose_operations_depend_on_values_is_left_as_it_is() -> None:
    network = Untraceable().eval()
    pictures = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        wanted = network(pictures)
        assert torch.allclose(for_inference(network, Compute(torch.device("cpu"), "fp32"))(pictures), wanted, atol=1e-6)
    assert isinstance(network.bn, nn.BatchNorm2d)


def test_a_part_that_depends_on_values_is_one_operation() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Untraceable()).eval()
    graph = graph_of(network)
    assert graph is not None
    assert [node.target for node in graph.nodes if node.op == "call_module"] == ["0", "1", "2"]


def test_weights_that_are_no_numbers_are_not_hidden() -> None:
    state = state_of("resnet18")
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    broken = backbone(state, "resnet18", "fp32")
    with torch.inference_mode():
        assert broken(torch.randn(1, 3, 64, 64)).isnan().any()
