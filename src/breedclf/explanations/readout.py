"""How features come from a network's last map: by average pooling, and by norms of the pooled vector.

Then the score of a class is a sum over the positions of the map, so that a class activation map is exact: Zhou et al.,
"Learning Deep Features for Discriminative Localization", CVPR 2016.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from breedclf.explanations.network_parts import NetworkParts

Layout = Literal["NCHW", "NHWC", "NTC"]
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class AffineNorm:
    """A norm of a vector x [D], which is affine if this vector's own deviation is a constant.

    It is `(x - center * mean(x)) / deviation(x) * weight + bias`, or without a deviation `x * weight + bias`.
    """

    kind: Literal["layer", "rms", "batch"]
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float = 0.0

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """The norm of a vector float32 [D]."""
        centered = vector - vector.mean() if self.kind == "layer" else vector
        return centered / self._deviation(vector) * self.weight + self.bias

    def folded(
        self, weight: torch.Tensor, bias: torch.Tensor, vector: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer [K, D], [K] on the norm's input that does what this one does on its output, for this input."""
        before = weight * self.weight / self._deviation(vector)
        if self.kind == "layer":
            before = before - before.mean(dim=1, keepdim=True)
        return before, bias + weight @ self.bias

    def _deviation(self, vector: torch.Tensor) -> torch.Tensor:
        if self.kind == "batch":
            return torch.ones(())
        centered = vector - vector.mean() if self.kind == "layer" else vector
        return (centered.square().mean() + self.eps).sqrt()


@dataclass(frozen=True)
class Readout:
    """What is between the last map and the head.

    Args:
        node: the last value with more than one position.
        layout: of its dimensions.
        grid: height and width of the map.
        norms: of the pooled vector, in order.
    """

    node: fx.Node
    layout: Layout
    grid: tuple[int, int]
    norms: tuple[AffineNorm, ...]

    def positions(self, value: torch.Tensor) -> torch.Tensor:
        """The map of one image as float32 [h, w, D] on the CPU."""
        last = value.permute(1, 2, 0) if self.layout == "NCHW" else value
        return last.float().cpu().reshape(*self.grid, -1)

    def features(self, positions: torch.Tensor) -> torch.Tensor:
        """The features [D] of a map, in float32 also where the network pools in bf16."""
        vector = positions.mean(dim=(0, 1))
        for norm in self.norms:
            vector = norm(vector)
        return vector

    def layer(
        self, positions: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The head's rows [K, D], [K] as a layer on the pooled map of this image."""
        inputs = list[torch.Tensor]()
        vector = positions.mean(dim=(0, 1))
        for norm in self.norms:
            inputs.append(vector)
            vector = norm(vector)
        for norm, given in zip(reversed(self.norms), reversed(inputs), strict=True):
            weight, bias = norm.folded(weight, bias, given)
        return weight, bias


def readout_of(parts: NetworkParts, features: int) -> Readout | None:
    """How D features come from the last map; None if not by average pooling and norms alone.

    What the operations do is measured on random values, so that it doesn't depend on how a library spells them.
    """
    node = next((each for each in reversed(parts.cuts) if _has_positions(parts.shapes[each], features)), None)
    if node is None:
        return None
    after = parts.nodes_between(node, parts.output)
    modules = parts.modules(after)
    norms = list[AffineNorm]()
    start, layout = node, None
    for end in [*modules, parts.output]:
        last = next(iter(end.all_input_nodes)) if end in modules else end
        if start is node:
            layout = _pooling(parts, node, last, features)
            if layout is None:
                return None
        elif last is not start and not _keeps(parts, start, last):
            return None
        if end in modules:
            norm = _norm(modules[end], parts.shapes[last], features)
            if norm is None:
                return None
            norms.append(norm)
            start = end
    assert layout is not None
    shape = parts.shapes[node]
    height, width = {"NCHW": shape[2:], "NHWC": shape[1:3], "NTC": [math.isqrt(shape[1])] * 2}[layout]
    if layout == "NTC" and height * width != shape[1]:
        return None
    return Readout(node, layout, (height, width), tuple(norms))


def _has_positions(shape: tuple[int, ...], features: int) -> bool:
    """Whether a value [1, ...] has more than one position for each feature."""
    size = torch.Size(shape).numel()
    return len(shape) in (3, 4) and size > features and size % features == 0


def _pooling(parts: NetworkParts, start: fx.Node, end: fx.Node, features: int) -> Layout | None:
    """The layout of a map whose mean over the positions is `end`; None if it isn't."""
    shape = parts.shapes[start]
    given = _random(shape)
    if parts.modules(parts.nodes_between(start, end)) or torch.Size(parts.shapes[end]).numel() != features:
        return None
    pooled = _run(parts, start, end, given)
    layouts: dict[Layout, tuple[int, ...]] = {"NTC": (1,)} if len(shape) == 3 else {"NCHW": (2, 3), "NHWC": (1, 2)}
    for layout, positions in layouts.items():
        mean = given.mean(dim=positions).flatten()
        if pooled is not None and mean.shape == pooled.shape and _is_near(mean, pooled):
            return layout
    return None


def _keeps(parts: NetworkParts, start: fx.Node, end: fx.Node) -> bool:
    """Whether a part only changes the shape of its input."""
    given = _random(parts.shapes[start])
    kept = _run(parts, start, end, given)
    return kept is not None and kept.shape == given.flatten().shape and _is_near(kept, given.flatten())


def _run(parts: NetworkParts, start: fx.Node, end: fx.Node, given: torch.Tensor) -> torch.Tensor | None:
    """The flat output of a part without weights; None if it can't be computed for these values."""
    try:
        result = parts.between(start, end)(given.clone())
    except Exception:  # noqa: BLE001 - the part has the network's own code, which may raise anything
        return None
    return result.flatten() if isinstance(result, torch.Tensor) else None


def _norm(module: nn.Module, shape: tuple[int, ...], features: int) -> AffineNorm | None:
    """A module that is a norm of a vector; None if it is something else."""
    module = copy.deepcopy(module).float().cpu().eval()
    norm = _known_norm(module, features)
    if norm is None or torch.Size(shape).numel() != features:
        return None
    given = _random(shape)
    with torch.inference_mode():
        is_so = _is_near(norm(given.flatten()), module(given.clone()).flatten())
    return norm if is_so else None


def _known_norm(module: nn.Module, features: int) -> AffineNorm | None:
    ones, zeros = torch.ones(features), torch.zeros(features)
    weight = getattr(module, "weight", None)
    bias = getattr(module, "bias", None)
    weight, bias = ones if weight is None else weight.detach(), zeros if bias is None else bias.detach()
    if weight.shape != (features,) or bias.shape != (features,):
        return None
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
        assert module.running_var is not None
        scale = weight / (module.running_var + module.eps).sqrt()
        return AffineNorm("batch", scale, bias - module.running_mean * scale)
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        return AffineNorm("layer", weight, bias, module.eps)
    eps = getattr(module, "eps", None)
    return AffineNorm("rms", weight, bias, eps) if isinstance(eps, float) else None


def _random(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _is_near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=_TOLERANCE, rtol=_TOLERANCE)
