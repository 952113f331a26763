"""Training with folded batch norms: the same mathematics as the plain network, for the same parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn

from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.backbones.graph import graph_of
from breedclf.models.folded_training import FoldedInterpreter
from breedclf.models.head import ScaledLinear
from breedclf.models.tail import Tail
from breedclf.runtime.device import Compute

FP32 = Compute(torch.device("cpu"), "fp32")


def small_network() -> nn.Module:
    """Convolutions with and without bias, batch norms with and without weights, and one whose convolution is shared."""
    torch.manual_seed(0)
    shared = nn.Conv2d(8, 8, 1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(8, affine=False),
        shared,
        nn.BatchNorm2d(8),
        shared,
        nn.Flatten(),
    )
    return with_other_statistics(network)


def with_other_statistics(network: nn.Module) -> nn.Module:
    """The network in eval mode, with batch norms that change what they get."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 1.5)
    return network.eval()


def trained(network: nn.Module, interpreter: type[fx.Interpreter], side: int) -> tuple[list[float], nn.Module]:
    """The losses of three steps, and the network after them."""
    network = copy.deepcopy(network).double()
    graph = graph_of(network)
    assert graph is not None
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    inputs = torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(3):
        loss = interpreter(network, graph=graph).run(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, network


@pytest.mark.parametrize("name", ["small", "resnet18", "mobilenet_v3_small"])
def test_steps_are_those_of_the_plain_network(name: str) -> None:
    if name == "small":
        network = small_network()
    else:
        network = with_other_statistics(find_backbone(name).new_network(seed=0, classes=2))
    plain_losses, plain = trained(network, fx.Interpreter, 32)
    losses, folded = trained(network, FoldedInterpreter, 32)
    assert losses == pytest.approx(plain_losses, rel=1e-9)
    start = network.double().state_dict()
    for key, expected in plain.state_dict().items():
        assert torch.allclose(folded.state_dict()[key], expected, rtol=1e-7, atol=1e-10), key
        assert key.endswith(("mean", "var", "tracked")) == torch.equal(expected, start[key]), key


@pytest.mark.parametrize(("fixed", "calls"), [(True, 0), (False, 1)], ids=["fixed", "trained"])
def test_a_tail_folds_batch_norms_that_keep_their_statistics(
    fixed: bool, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = tail_of("resnet18", fixed=fixed)
    seen = []
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: seen.append(self) or forward(self, x))
    tail.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert len(seen) == 20 * calls
    assert all(parameter.grad is not None for parameter in tail.parameters())


def test_a_batch_norm_with_a_hook_is_called() -> None:
    tail = tail_of("resnet18")
    inputs, seen = torch.randn(2, 3, 32, 32), []
    expected = tail(inputs)
    for name in ("body.layer1.0.conv1", "body.layer2.0.bn1"):
        tail.get_submodule(name).register_forward_hook(lambda module, _inputs, _output: seen.append(type(module)))
    assert torch.allclose(tail(inputs), expected, rtol=1e-4, atol=1e-5)
    assert seen == [nn.Conv2d, nn.BatchNorm2d]


def tail_of(name: str, *, fixed: bool = True) -> Tail:
    backbone = find_backbone(name)
    state = backbone.without_head(backbone.new_network(seed=0, classes=2).state_dict())
    head = ScaledLinear(backbone.features, 2)
    return Tail.of(backbone, state, "none", head, fixed_statistics=fixed, compute=FP32)
