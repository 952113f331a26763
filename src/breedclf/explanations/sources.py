"""Where evidence comes from: the forward pass of the prediction, or the gradient in a plain copy of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn

from breedclf.errors import ConfigError
from breedclf.explanations.evidence import Evidence, ExactEvidence, GradientEvidence
from breedclf.explanations.network_parts import NetworkParts
from breedclf.explanations.readout import Readout, grid_of_tokens, readout_of
from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction

_MOST_PROBES = 24


@dataclass(frozen=True)
class ExactSource:
    """A network that ends with average pooling: `network` also returns the value that is pooled."""

    classifier: Classifier
    network: nn.Module
    readout: Readout
    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, classifier: Classifier) -> ExactSource | None:
        """None if the network ends in another way."""
        network, head = classifier.parts
        parts = NetworkParts.of(network, _blank(classifier))
        readout = None if parts is None else readout_of(parts, head.in_features)
        if parts is None or readout is None:
            return None
        weight, bias = (each.detach().float().cpu() for each in (head.weight, head.bias))
        return cls(classifier, parts.showing(readout.node), readout, weight, bias)

    def evidence(self, crops: torch.Tensor) -> Iterator[tuple[Evidence, Prediction]]:
        """The evidence and the prediction of each crop, by one pass."""
        with torch.inference_mode():
            features, values = self.network(self.classifier.normalized(crops))
        predictions = self.classifier.predictions_of_features(features.float(), crops)
        for value, prediction in zip(values, predictions, strict=True):
            yield ExactEvidence(self.readout, self.weight, self.bias, value), prediction


@dataclass(frozen=True)
class GradientSource:
    """Any other network: a plain copy in float32, cut at the last value that has a gradient at every position."""

    classifier: Classifier
    body: nn.Module
    tail: nn.Module
    channels: int
    grid: tuple[int, int]

    @classmethod
    def of(cls, classifier: Classifier) -> GradientSource:
        """Find the cut.

        Raises:
            ConfigError: there is none.
        """
        network = classifier.torch_module().requires_grad_(False).to(classifier.compute.device)
        parts = NetworkParts.of(network, _blank(classifier).float())
        if parts is None:
            raise ConfigError(
                f"{classifier.card.architecture} can't be explained: its operations can't be recorded, so there is no "
                "map of the image; train a network that ends with average pooling, such as resnet50"
            )
        inputs = torch.rand(1, 3, *[classifier.preprocessing.crop_px] * 2).to(classifier.compute.device)
        for node in list(reversed(parts.cuts))[:_MOST_PROBES]:
            found = _grid(parts, node)
            if found is None:
                continue
            channels, grid = found
            body, tail = parts.up_to(node), parts.between(node, parts.output)
            if _reaches_all(tail, body(inputs), channels, grid):
                return cls(classifier, body, tail, channels, grid)
        raise ConfigError(
            f"{classifier.card.architecture} can't be explained: no value in it has a place in the image and decides "
            "the scores alone; train a network that ends with average pooling, such as resnet50"
        )

    def evidence(self, crops: torch.Tensor) -> Iterator[tuple[Evidence, Prediction]]:
        """The evidence and the prediction of each crop."""
        predictions = self.classifier.predictions_of_inputs(crops)
        for crop, prediction in zip(crops, predictions, strict=True):
            with torch.no_grad():
                value = self.body(self.classifier.normalized(crop[None], torch.float32))
            yield GradientEvidence(self.tail, value, self.channels, self.grid), prediction


def _blank(classifier: Classifier) -> torch.Tensor:
    side = classifier.preprocessing.crop_px
    return classifier.normalized(torch.zeros(1, 3, side, side, dtype=torch.uint8))


def _grid(parts: NetworkParts, node: fx.Node) -> tuple[int, tuple[int, int]] | None:
    """The dimension of a value's channels, and the height and width of its map; None if it has only one position."""
    shape = parts.shapes[node]
    if len(shape) == 3:
        grid = grid_of_tokens(parts, node)
        return None if grid is None else (2, grid)
    if len(shape) != 4:
        return None
    channels, height, width = (1, *shape[2:]) if shape[2] == shape[3] else (3, *shape[1:3])
    return (channels, (height, width)) if height * width > 1 else None


def _reaches_all(tail: nn.Module, value: torch.Tensor, channels: int, grid: tuple[int, int]) -> bool:
    """Whether the scores depend on the value at every position."""
    with torch.enable_grad():
        value = value.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(tail(value * 1).sum(), value)
    positions = gradient.movedim(channels, -1)[0].flatten(0, -2)[-grid[0] * grid[1] :]
    return bool((positions != 0).any(dim=1).float().mean() > 0.5)
