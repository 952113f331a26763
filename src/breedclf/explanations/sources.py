"""Where evidence comes from: the forward pass of the prediction, or the gradient in a plain copy of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from breedclf.errors import ConfigError
from breedclf.explanations.evidence import Evidence, ExactEvidence, GradientEvidence
from breedclf.explanations.network_parts import NetworkParts
from breedclf.explanations.place import Place, place_of, scores_from
from breedclf.explanations.readout import Readout, readout_of
from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction


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

    def evidence(self, crops: torch.Tensor, coverage: float | None) -> Iterator[tuple[Evidence, Prediction]]:
        """The evidence and the prediction of each crop, by one pass."""
        with torch.inference_mode():
            features, values = self.network(self.classifier.normalized(crops))
        predictions = self.classifier.predictions_of_features(features.float(), crops, coverage)
        for value, prediction in zip(values, predictions, strict=True):
            yield ExactEvidence(self.readout, self.weight, self.bias, value), prediction


@dataclass(frozen=True)
class GradientSource:
    """Any other network: a plain copy in float32, and the module of it whose output is explained."""

    classifier: Classifier
    network: nn.Module
    place: Place

    @classmethod
    def of(cls, classifier: Classifier) -> GradientSource:
        """Find the module.

        Raises:
            ConfigError: there is none.
        """
        network = classifier.torch_module().requires_grad_(False).to(classifier.compute.device)
        place = place_of(network, _blank(classifier).float())
        if place is None:
            raise ConfigError(
                f"{classifier.card.architecture} can't be explained: none of its modules returns a map of the image "
                "that alone decides the scores; train a network that ends with average pooling, such as resnet50"
            )
        return cls(classifier, network, place)

    def evidence(self, crops: torch.Tensor, coverage: float | None) -> Iterator[tuple[Evidence, Prediction]]:
        """The evidence and the prediction of each crop."""
        predictions = self.classifier.predictions_of_inputs(crops, coverage)
        for crop, prediction in zip(crops, predictions, strict=True):
            image = self.classifier.normalized(crop[None], torch.float32)
            yield GradientEvidence(self.place, *scores_from(self.network, self.place.module, image)), prediction


def _blank(classifier: Classifier) -> torch.Tensor:
    side = classifier.preprocessing.crop_px
    return classifier.normalized(torch.zeros(1, 3, side, side, dtype=torch.uint8))
