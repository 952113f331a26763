"""A network's graph in two parts: from images to an intermediate value, and from that to features."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from breedclf.models.backbones.graph import graph_of


class NetworkParts:
    """A network without its head whose graph is known, with the shapes of its values for one image.

    Args:
        network: from images [N, 3, H, W] to features [N, D], in eval mode.
        graph: its operations.
        images: one image, to record the shapes by one forward pass.
    """

    def __init__(self, network: nn.Module, graph: fx.Graph, images: torch.Tensor) -> None:
        self._network = network
        self._nodes = list(graph.nodes)
        self.output: fx.Node = next(iter(self._nodes[-1].all_input_nodes))
        recorder = _Recorder(fx.GraphModule(network, graph))
        with torch.inference_mode():
            recorder.run(images)
        self.shapes: dict[fx.Node, tuple[int, ...]] = recorder.shapes
        self._numbers = recorder.numbers

    @classmethod
    def of(cls, network: nn.Module, images: torch.Tensor) -> NetworkParts | None:
        """The parts of a network; None if its operations can't be recorded."""
        graph = graph_of(network)
        return None if graph is None else cls(network, graph, images)

    @cached_property
    def cuts(self) -> list[fx.Node]:
        """The nodes after which nothing else that depends on the image is used, from the input to the output."""
        position = {node: number for number, node in enumerate(self._nodes)}
        found, furthest = list[fx.Node](), -1
        for number, node in enumerate(self._nodes[:-1]):
            if node not in self._of_image:
                continue
            last_use = max((position[user] for user in node.users), default=-1)
            if furthest <= number and node.op != "placeholder" and node in self.shapes:
                found.append(node)
            furthest = max(furthest, last_use)
        return found

    @cached_property
    def _of_image(self) -> frozenset[fx.Node]:
        """The nodes whose value depends on the image's content, not only on its shape, device or dtype."""
        found = set[fx.Node]()
        for node in self._nodes:
            is_tensor = node in self.shapes or node not in self._numbers
            is_property = node.target is getattr and node.args[1] in ("shape", "device", "dtype")
            if node.op == "placeholder" or (is_tensor and not is_property and found.intersection(node.all_input_nodes)):
                found.add(node)
        return frozenset(found)

    def between(self, start: fx.Node, end: fx.Node) -> fx.GraphModule:
        """The part from the value of `start`, a cut, to that of `end`, for one image; it shares the modules."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.node.Argument] = {start: graph.placeholder("inputs")}

        def copy_of(node: fx.Node) -> fx.node.Argument:
            if node not in copies:
                copies[node] = self._numbers[node] if node in self._numbers else graph.node_copy(node, copy_of)
            return copies[node]

        for node in self.nodes_between(start, end):
            copies[node] = graph.node_copy(node, copy_of)
        graph.output(copies[end])
        return fx.GraphModule(self._network, graph)

    def nodes_between(self, start: fx.Node, end: fx.Node) -> list[fx.Node]:
        """The nodes that depend on the image after `start`, up to and including `end`."""
        first, last = self._nodes.index(start) + 1, self._nodes.index(end) + 1
        return [node for node in self._nodes[first:last] if node in self._of_image]

    def showing(self, node: fx.Node) -> fx.GraphModule:
        """The network with two outputs: the features, as before to the bit, and the value of a node."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for each in self._nodes[:-1]:
            copies[each] = graph.node_copy(each, copies.__getitem__)
        graph.output((copies[self.output], copies[node]))
        return fx.GraphModule(self._network, graph)

    def modules(self, nodes: Iterable[fx.Node]) -> dict[fx.Node, nn.Module]:
        """The modules with parameters or buffers that these nodes call."""
        called = {node: self._network.get_submodule(str(node.target)) for node in nodes if node.op == "call_module"}
        return {node: module for node, module in called.items() if module.state_dict()}


class _Recorder(fx.Interpreter):
    """Records the shape of each tensor, and each number, during a forward pass."""

    def __init__(self, whole: fx.GraphModule) -> None:
        super().__init__(whole)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.numbers: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        elif isinstance(result, int):
            self.numbers[n] = result
        return result
