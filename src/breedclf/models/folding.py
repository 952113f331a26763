"""Batch norms folded into the convolutions before them, which changes results only by rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from breedclf.models.backbones.graph import graph_of


def folded(network: nn.Module) -> nn.Module:
    """Fold the batch norms into the convolutions, in place; the network is for inference only afterwards.

    A network whose operations can't be recorded stays as it is.
    """
    network = network.eval().requires_grad_(False)
    graph = graph_of(network)
    if graph is not None:
        fold(network, graph)
    return network


def fold(network: nn.Module, graph: fx.Graph) -> None:
    """Fold each batch norm of the graph whose input is a convolution that nothing else uses."""
    for before, node in conv_norm_pairs(network, graph):
        conv, norm = called(network, before), called(network, node)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        network.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
        network.set_submodule(str(node.target), rest_of(norm))


def conv_norm_pairs(network: nn.Module, graph: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """The convolutions whose only use is a batch norm with statistics, each with that batch norm."""
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        norm = called(network, node)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or not isinstance(node.args[0], fx.Node):
            continue
        before = node.args[0]
        conv = called(network, before)
        if (
            isinstance(conv, nn.Conv2d)
            and _uses_its_weight_as_it_is(conv)
            and len(before.users) == 1
            and calls[before.target] == calls[node.target] == 1
        ):
            yield before, node


def called(network: nn.Module, node: fx.Node) -> nn.Module | None:
    """The module that a node of the network's graph calls, if it calls one."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def is_same_padded(conv: nn.Module) -> bool:
    """Whether it is timm's convolution that pads images by what their size needs, as TensorFlow does."""
    return type(conv).__name__ == "Conv2dSame"


def _uses_its_weight_as_it_is(conv: nn.Conv2d) -> bool:
    return type(conv).forward is nn.Conv2d.forward or is_same_padded(conv)


def rest_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What a batch norm does besides normalizing: timm's have an activation."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
