"""The values in a network's graph: their shapes, and those that any part of the network can compute for itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from breedclf.models.backbones.graph import has_effects

_FEW, _MORE = 2, 3
"""Two numbers of images, to see which numbers in the graph depend on it."""


@dataclass(frozen=True)
class Values:
    """What the nodes of a graph compute from square images of one size.

    Args:
        shapes: of tensors for one image, the batch included.
        numbers: constants, such as the height of an intermediate image.
        counts: nodes whose value is the number of images.
        repeatable: nodes that don't depend on the content of images, such as rotary position embeddings, and nothing
            that can be trained. A part of the network computes them again instead of receiving them.
    """

    shapes: dict[fx.Node, tuple[int, ...]]
    numbers: dict[fx.Node, int]
    counts: frozenset[fx.Node]
    repeatable: frozenset[fx.Node]

    @classmethod
    def of(cls, whole: fx.GraphModule, side_px: int) -> Self:
        """Run a network on the meta device for images of this many pixels a side."""
        shapes, _ = _Recorder(whole).record(1, side_px)
        _, few = _Recorder(whole).record(_FEW, side_px)
        _, more = _Recorder(whole).record(_MORE, side_px)
        numbers = {node: few[node] for node in few if few[node] == more[node]}
        counts = frozenset(node for node in few if (few[node], more[node]) == (_FEW, _MORE))
        repeatable: set[fx.Node] = set()
        for node in whole.graph.nodes:
            if node in numbers or node in counts or _is_repeatable(whole, node, repeatable):
                repeatable.add(node)
        return cls(shapes, numbers, counts, frozenset(repeatable))

    def repeated(
        self, node: fx.Node, graph: fx.Graph, inputs: fx.Node, copy_of: Callable[[fx.Node], fx.node.Argument]
    ) -> fx.node.Argument:
        """A repeatable node for a graph that receives `inputs`; `copy_of` gives other nodes' copies."""
        if node in self.numbers:
            return self.numbers[node]
        if node in self.counts:
            return graph.call_method("size", (inputs, 0))
        if _is_property(node):
            return graph.call_function(getattr, (inputs, node.args[1]))
        return graph.node_copy(node, copy_of)


def _is_repeatable(whole: nn.Module, node: fx.Node, known: set[fx.Node]) -> bool:
    if node.op == "get_attr":
        return not isinstance(_attribute(whole, str(node.target)), nn.Parameter)
    if node.op not in ("call_function", "call_method") or has_effects(node):
        return False
    return _is_property(node) or all(each in known for each in node.all_input_nodes)


def _is_property(node: fx.Node) -> bool:
    """Whether a node is the device or dtype of a tensor."""
    return node.target is getattr and node.args[1] in ("device", "dtype")


def _attribute(module: nn.Module, path: str) -> object:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)


class _Recorder(fx.Interpreter):
    """Records the shape of each tensor, and each number, while the graph is run."""

    def record(self, images: int, side_px: int) -> tuple[dict[fx.Node, tuple[int, ...]], dict[fx.Node, int]]:
        self._shapes: dict[fx.Node, tuple[int, ...]] = {}
        self._numbers: dict[fx.Node, int] = {}
        with torch.no_grad():
            self.run(torch.empty(images, 3, side_px, side_px, device="meta"))
        return self._shapes, self._numbers

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self._shapes[n] = tuple(result.shape)
        elif isinstance(result, int):
            self._numbers[n] = result
        return result

    # On the meta device, additions, batch norms and pooling load torch's compiler, which takes seconds: ResNets, which
    # have no other such operation, do without it.

    def call_function(self, target: fx.node.Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in (operator.add, operator.iadd) and _have_one_shape(args):
            return torch.empty_like(args[0])
        return super().call_function(target, args, kwargs)

    def call_module(self, target: fx.node.Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(str(target))
        if isinstance(module, _BatchNorm):
            return torch.empty_like(args[0])
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            return args[0][..., :1, :1]
        return super().call_module(target, args, kwargs)


def _have_one_shape(values: Sequence[object]) -> bool:
    shapes = {value.shape if isinstance(value, torch.Tensor) else None for value in values}
    return len(shapes) == 1 and None not in shapes
