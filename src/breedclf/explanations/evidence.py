"""What speaks for each class at each position of one image: exact, or by the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn

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
    """Grad-CAM of an intermediate value: its channels, weighted by the mean of the score's gradient over positions.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017;
    without the final ReLU, so that evidence against the class is seen too.

    Args:
        tail: from the value [1, ...] to scores [1, C].
        value: of one image.
        channels: the dimension of its channels.
        grid: height and width of the map; tokens before it stand for no position.
    """

    method = GRAD_CAM
    is_exact = False

    def __init__(self, tail: nn.Module, value: torch.Tensor, channels: int, grid: tuple[int, int]) -> None:
        self._tail = tail
        self._value = value.detach()
        self._channels = channels
        self._grid = grid

    def maps(self, classes: Sequence[int]) -> list[ClassMap]:
        with torch.inference_mode(False), torch.enable_grad():
            value = self._value.clone().requires_grad_()
            scores = self._tail(value * 1)[0]
            gradients = [torch.autograd.grad(scores[each], value, retain_graph=True)[0] for each in classes]
        scores = scores.detach()
        found = list[ClassMap]()
        for each, gradient in zip(classes, gradients, strict=True):
            cam = self._cam(value.detach(), gradient)
            score = float(scores[each])
            found.append(ClassMap(cam, score - float(cam.double().sum()), score))
        return found

    def _cam(self, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        height, width = self._grid
        channels, slopes = (each.movedim(self._channels, -1)[0].flatten(0, -2) for each in (value, gradient))
        positions, slopes = channels[-height * width :], slopes[-height * width :]
        return (positions @ slopes.mean(dim=0)).reshape(height, width).float().cpu()
