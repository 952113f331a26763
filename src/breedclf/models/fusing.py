"""A network's graph with fewer operations: each convolution or linear layer takes what follows it along."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from breedclf.models.folding import called, is_same_padded
from breedclf.models.fused_ops import Activation, FusedConv, FusedLinear

_PLAIN = Activation()
_RELU = Activation("relu")
_RELU6 = Activation("hardtanh", (0.0, 6.0))
_SILU = Activation("swish")
_HARDSWISH = Activation("hardswish")
_GELU = Activation("gelu", variant="none")
_GELU_TANH = Activation("gelu", variant="tanh")
_HARDSIGMOID = Activation("hardsigmoid")
_SIGMOID = Activation("sigmoid")

_MODULES = {
    "ReLU": _RELU,
    "ReLU6": _RELU6,
    "SiLU": _SILU,
    "Swish": _SILU,
    "Hardswish": _HARDSWISH,
    "HardSwish": _HARDSWISH,
    "GELUTanh": _GELU_TANH,
    "Hardsigmoid": _HARDSIGMOID,
    "HardSigmoid": _HARDSIGMOID,
    "Sigmoid": _SIGMOID,
    "Tanh": Activation("tanh"),
}
"""Activations by the name of their class: torch's and timm's."""

_FUNCTIONS: dict[object, Activation] = {
    F.relu: _RELU,
    torch.relu: _RELU,
    "relu": _RELU,
    "relu_": _RELU,
    F.relu6: _RELU6,
    F.silu: _SILU,
    F.hardswish: _HARDSWISH,
    F.hardsigmoid: _HARDSIGMOID,
    F.sigmoid: _SIGMOID,
    torch.sigmoid: _SIGMOID,
    "sigmoid": _SIGMOID,
}
"""Activations by the function or method that is called."""

_ADDITIONS: tuple[object, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_ONLY_IN_TRAINING = ("DropPath", "StochasticDepth", "DropBlock2d")
_FRESH = (FusedConv, FusedLinear, nn.Conv2d, nn.Linear, nn.LayerNorm, _BatchNorm, nn.MaxPool2d, nn.AvgPool2d)
"""Modules that return memory of their own."""


def fused(network: nn.Module, recorded: fx.Graph) -> fx.GraphModule:
    """The network with this graph for inference on a CPU, with fused operations; both are changed.

    The results are equal up to rounding: a sum is rounded once, after the addition, and not before it too.
    """
    _Fusing(network, recorded).run()
    module = fx.GraphModule(network, recorded)
    module.graph.owning_module = None  # else its weights would stay in memory until garbage is collected
    return module


class _Fusing:
    """Rewrites the graph of a network, and the network, in place."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self.network = network
        self.graph = graph
        self.calls = Counter(node.target for node in graph.nodes if node.op == "call_module")

    def run(self) -> None:
        self._drop_what_only_training_does()
        for node in list(self.graph.nodes):
            layer = called(self.network, node)
            if layer is None or self.calls[node.target] > 1 or len(node.args) != 1 or node.kwargs:
                continue
            if isinstance(layer, nn.Conv2d) and _has_plain_padding(layer):
                self._fuse_conv(node, layer)
            elif type(layer) is nn.Linear:
                self._fuse_linear(node, layer)

    def _drop_what_only_training_does(self) -> None:
        for node in list(self.graph.nodes):
            layer = called(self.network, node)
            if isinstance(layer, (nn.Identity, _DropoutNd)) or type(layer).__name__ in _ONLY_IN_TRAINING:
                node.replace_all_uses_with(node.args[0])
                self.graph.erase_node(node)

    def _fuse_conv(self, node: fx.Node, conv: nn.Conv2d) -> None:
        same = is_same_padded(conv)
        if addition := self._addition_after(node):
            total, added = addition
            last = self._after(total)
            activation = _RELU if last is not None and self._activation(last) == _RELU else _PLAIN
            end = last if last is not None and activation == _RELU else total
            in_place = added is not node.args[0] and self._may_overwrite(added, total)
            self._replace(node, end, FusedConv(conv, activation, same=same, in_place=in_place), added, [total])
            return
        last = self._after(node)
        found = None if last is None else self._activation(last)
        self._replace(node, last if found and last else node, FusedConv(conv, found or _PLAIN, same=same))

    def _fuse_linear(self, node: fx.Node, linear: nn.Linear) -> None:
        if addition := self._addition_after(node):
            total, added = addition
            self._replace(node, total, FusedLinear(linear, _PLAIN), added)
            return
        last = self._after(node)
        found = None if last is None else self._activation(last)
        self._replace(node, last if found and last else node, FusedLinear(linear, found or _PLAIN))

    def _replace(
        self,
        node: fx.Node,
        end: fx.Node,
        layer: nn.Module,
        added: fx.Node | None = None,
        between: list[fx.Node] | None = None,
    ) -> None:
        """Let the layer of a node compute all operations from it to `end`."""
        self.network.set_submodule(str(node.target), layer)
        inputs = (node.args[0],) if added is None else (node.args[0], added)
        with self.graph.inserting_before(end):
            new = self.graph.call_module(str(node.target), inputs)
        end.replace_all_uses_with(new)
        for old in dict.fromkeys([end, *(between or []), node]):
            self.graph.erase_node(old)

    def _after(self, node: fx.Node) -> fx.Node | None:
        """The only operation that uses a node's output."""
        return next(iter(node.users)) if len(node.users) == 1 else None

    def _activation(self, node: fx.Node) -> Activation | None:
        """The activation that a node is, if oneDNN has it."""
        if node.op == "call_module":
            layer = self.network.get_submodule(str(node.target))
            if type(layer).__name__ == "GELU":
                return _GELU_TANH if getattr(layer, "approximate", "none") == "tanh" else _GELU
            return _MODULES.get(type(layer).__name__)
        if node.target is F.gelu:
            return {"none": _GELU, "tanh": _GELU_TANH}.get(str(node.kwargs.get("approximate", "none")))
        return _FUNCTIONS.get(node.target)

    def _addition_after(self, node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
        """The sum of a node's output, which nothing else uses, and another value."""
        total = self._after(node)
        if total is None or total.target not in _ADDITIONS or len(total.args) != 2 or total.kwargs:
            return None
        left, right = total.args
        added = right if left is node else left
        if not isinstance(added, fx.Node) or added is node or added.op == "get_attr":
            return None
        overwrites = total.target in (operator.iadd, "add_") and left is added
        return None if overwrites and len(added.users) > 1 else (total, added)

    def _may_overwrite(self, added: fx.Node, total: fx.Node) -> bool:
        """Whether nothing uses a value, or its memory under another name, after a sum."""
        others = [user for user in added.users if user is not total]
        return self._is_fresh(added) and all(user < total and self._is_fresh(user) for user in others)

    def _is_fresh(self, node: fx.Node) -> bool:
        """Whether an operation's output is memory of its own."""
        return isinstance(called(self.network, node), _FRESH)


def _has_plain_padding(conv: nn.Conv2d) -> bool:
    if is_same_padded(conv):
        return True
    plain: Callable[..., object] = nn.Conv2d.forward
    return type(conv).forward is plain and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
