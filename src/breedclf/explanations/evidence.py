"""What speaks for each class at each position of one image: exact, or by the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from breedclf.explanations.place import Place
from breedclf.explanations.readout import Readout

CLASS_ACTIVATION_MAP = "class activation map"
GRAD_CAM = "Grad-CAM"


class ClassMap(NamedTuple):
    """The map of one class, float32 [h, w], with the class's score and the part of it that has no position."""

    values: torch.Tensor
    bias: float
    score: float


class Evidence(Protocol):
    """The maps of all classes of one image, without another pass through the network."""

    method: str
    is_exact: bool

    def maps(self, classes: Sequence[int]) -> list[ClassMap]:
        """The maps of these classes."""


class ExactEvidence:
    """Class activation maps: with the map's positions m [h, w, D] and the head's rows w [K, D], w·m / (h w)."""

    method = CLASS_ACTIVATION_MAP
    is_exact = True

    def __init__(self, readout: Readout, weight: torch.Tensor, bias: torch.Tensor, value: torch.Tensor) -> None:
        self._readout = readout
        self._weight, self._bias = weight, bias
        self._positions = readout.positions(value)

    def maps(self, classes: Sequence[int]) -> list[ClassMap]:
        rows = torch.tensor(list(classes))
        with torch.inference_mode():
            weight, bias = self._weight[rows], self._bias[rows]
            scores = weight @ self._readout.features(self._positions) + bias
            weight, bias = self._readout.layer(self._positions, weight, bias)
            height, width = self._readout.grid
            values = (self._positions @ weight.T).permute(2, 0, 1) / (height * width)
        return [ClassMap(*each) for each in zip(values.clone(), bias.tolist(), scores.tolist(), strict=True)]


class GradientEvidence:
    """Grad-CAM of a module's output: its channels, weighted by the mean of the score's gradient over the positions.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017;
    without the final ReLU, so that evidence against the class is seen too.

    Args:
        place: the module's output as a map.
        scores: [C], with their gradient down to `value`.
        value: the output for one image.
    """

    method = GRAD_CAM
    is_exact = False

    def __init__(self, place: Place, scores: torch.Tensor, value: torch.Tensor) -> None:
        self._place = place
        self._scores = scores
        self._value = value

    def maps(self, classes: Sequence[int]) -> list[ClassMap]:
        positions, found = self._place.positions(self._value.detach()), list[ClassMap]()
        for each in classes:
            (gradient,) = torch.autograd.grad(self._scores[each], self._value, retain_graph=True)
            cam = (positions @ self._place.positions(gradient).mean(dim=0)).reshape(self._place.grid).cpu()
            score = self._scores[each].item()
            found.append(ClassMap(cam, score - float(cam.double().sum()), score))
        return found
