"""A network's graph, cut into stages where exactly one tensor passes from one part to the next."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from breedclf.models.backbones.graph import graph_of
from breedclf.models.backbones.values import Values

NECK = "neck"
"""The last segment: what pools the last stage's output, up to the head's input."""

_STEM = "stem"
_STEM_STRIDE = 4
_PARTS = 4
_LAYERS = ("layer1", "layer2", "layer3", "layer4")
"""The stages of networks that name them themselves."""


@dataclass(frozen=True)
class Segment:
    """A part of a network that maps one tensor to one.

    Args:
        name: of the stage, or `neck`.
        graph: computes the part, with the network's modules; None for a whole network whose graph isn't known.
        modules: names of the network's modules, parameters and buffers that it uses.
        output_shape: of its output for one image, without the batch.
    """

    name: str
    graph: fx.Graph | None
    modules: frozenset[str]
    output_shape: tuple[int, ...]

    def owns(self, tensor_name: str) -> bool:
        """Whether a parameter or buffer of the network belongs to this segment."""
        parts = tensor_name.split(".")
        return any(".".join(parts[:count]) in self.modules for count in range(1, len(parts) + 1))


def segments_of(network: nn.Module, side_px: int) -> tuple[Segment, ...]:
    """Cut a network on the meta device, whose head is an identity, into its stages and the neck.

    Stages end where images become smaller; those of a transformer, which keeps their size, have equally many blocks.
    """
    graph = graph_of(network.eval())
    if graph is None:
        return (_whole(network, side_px),)
    whole = fx.GraphModule(network, graph)
    values = Values.of(whole, side_px)
    nodes = list(whole.graph.nodes)
    cuts = [cut for cut in _cuts(nodes, values) if cut in values.shapes]
    named = _layers(cuts) if all(hasattr(network, name) for name in _LAYERS) else None
    stages = named or _by_size(nodes, cuts, values.shapes, side_px)
    return tuple(_segments(whole, stages, values)) if stages else (_whole(network, side_px),)


def _whole(network: nn.Module, side_px: int) -> Segment:
    with torch.no_grad():
        shape = tuple(network(torch.empty(1, 3, side_px, side_px, device="meta")).shape[1:])
    return Segment(_STEM, None, frozenset(network.state_dict()), shape)


def _cuts(nodes: Sequence[fx.Node], values: Values) -> Iterator[fx.Node]:
    """The nodes after which nothing but their own output is used, besides what can be computed without images."""
    position = {node: number for number, node in enumerate(nodes)}
    last_use = [max((position[user] for user in node.users), default=-1) for node in nodes]
    furthest = -1
    for number, node in enumerate(nodes[:-1]):
        if node in values.repeatable:
            continue
        if furthest <= number and node.op != "placeholder" and last_use[number] > number:
            yield node
        furthest = max(furthest, last_use[number])


def _block(node: fx.Node) -> str:
    """The outermost numbered module that a node belongs to, such as `features.2` or `encoder_layer_3`; else empty."""
    paths = (path for path, _kind in node.meta.get("nn_module_stack", {}).values())
    return next((path for path in paths if path[-1:].isdigit()), "")


def _layers(cuts: Sequence[fx.Node]) -> list[tuple[str, fx.Node]]:
    """The last cut of the stem and of each stage that the network names itself."""
    chosen: dict[str, fx.Node] = {}
    for cut in cuts:
        stack = [path for path, _ in cut.meta.get("nn_module_stack", {}).values()]
        inside = next((name for name in _LAYERS if any(path.partition(".")[0] == name for path in stack)), None)
        if inside is not None or not set(chosen) - {_STEM}:
            chosen[inside or _STEM] = cut
    return list(chosen.items())


def _by_size(
    nodes: Sequence[fx.Node], cuts: Sequence[fx.Node], shapes: dict[fx.Node, tuple[int, ...]], side_px: int
) -> list[tuple[str, fx.Node]]:
    """The last cut of the stem and of each stage, by the number of positions of its output."""
    following = dict(itertools.pairwise(nodes))
    ends = [cut for cut in cuts if _block(cut) and _block(cut) != _block(following[cut])]
    sizes: dict[int, list[fx.Node]] = {}
    for cut in ends:
        if (positions := _positions(shapes[cut])) > 1:
            sizes.setdefault(positions, []).append(cut)
    small = (side_px // _STEM_STRIDE) ** 2
    stem = [cut for positions, some in sizes.items() if positions > small for cut in some]
    groups = [some for positions, some in sizes.items() if positions <= small]
    if len(groups) < 3:  # the size doesn't change on the way
        most = max(groups, key=len, default=[])
        length = -(-len(most) // _PARTS) or 1
        groups = [most[start : start + length] for start in range(0, len(most), length)]
    named = [(f"stage{number}", some[-1]) for number, some in enumerate(groups, 1)]
    return ([(_STEM, stem[-1])] if stem else []) + named


def _positions(shape: Sequence[int]) -> int:
    """The number of places in an image that a tensor [1, C, H, W], [1, H, W, C] or [1, T, C] has values for."""
    if len(shape) == 4:
        return shape[2] * shape[3] if shape[2] == shape[3] else shape[1] * shape[2]
    return shape[1] if len(shape) == 3 else 1


def _segments(whole: fx.GraphModule, stages: Sequence[tuple[str, fx.Node]], values: Values) -> Iterator[Segment]:
    nodes = list(whole.graph.nodes)
    output = next(iter(nodes[-1].all_input_nodes))
    first, before = 0, None
    for name, last in [*stages, (NECK, output)]:
        end = len(nodes) - 1 if last is output else nodes.index(last) + 1
        yield _segment(name, nodes[first:end], before, last, values)
        first, before = end, last


def _segment(name: str, nodes: Sequence[fx.Node], before: fx.Node | None, last: fx.Node, values: Values) -> Segment:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.node.Argument] = {}
    if before is not None:
        inputs = copies[before] = graph.placeholder("inputs")

    def copy_of(node: fx.Node) -> fx.node.Argument:
        if node not in copies:
            copies[node] = values.repeated(node, graph, inputs, copy_of)
        return copies[node]

    for node in nodes:
        copies[node] = graph.node_copy(node, copy_of)
    graph.output(copies[last])
    used = frozenset(str(node.target) for node in nodes if node.op in ("call_module", "get_attr"))
    return Segment(name, graph, used, values.shapes[last][1:])
