"""`Explanation`: how much each place of an image speaks for a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from breedclf.data.decoding import as_image
from breedclf.errors import ConfigError
from breedclf.explanations.border import border_share
from breedclf.explanations.classes import ClassNames
from breedclf.explanations.evidence import ClassMap, Evidence
from breedclf.explanations.facts import ExplanationFacts
from breedclf.explanations.overlay import SHOWN_PX, overlay, small_jpeg
from breedclf.inference.prediction import Prediction
from breedclf.text.html_repr import html_repr


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """How much each place of an image speaks for a class, and what else its score has.

    `values.sum() + bias == score` up to rounding. If `is_exact`, the values are the network's own arithmetic: they say
    what each place contributes to the score. Otherwise `method` names an approximation, and `bias` is what is left.

    Attributes:
        values: float32 [h, w], from the top left of `crop`; positive ones speak for the class.
        bias: the part of the score that belongs to no place.
        score: the class's score before the softmax, calibrated if the model is; computed in float32 from the features.
        class_name: the explained class, as shown to people.
        label: the name of its class folder.
        method: "class activation map" or "Grad-CAM".
        is_exact: whether the values are the contributions to the score.
        prediction: the image's prediction, from the same pass through the network.
        other: the class that `difference` compares with; None for one class's own map.
        crop: the part of the image that the network sees, uint8 [3, crop, crop].
    """

    values: npt.NDArray[np.float32]
    bias: float
    score: float
    class_name: str
    label: str
    method: str
    is_exact: bool
    prediction: Prediction
    crop: torch.Tensor
    other: str | None = None
    _evidence: Evidence | None = field(default=None)
    _names: ClassNames | None = field(default=None)

    @classmethod
    def of_class(
        cls, index: int, found: ClassMap, evidence: Evidence, names: ClassNames, crop: torch.Tensor, answer: Prediction
    ) -> Explanation:
        """The explanation of a class by its map."""
        return cls(
            values=found.values.numpy(),
            bias=found.bias,
            score=found.score,
            class_name=names.class_names[index],
            label=names.labels[index],
            method=evidence.method,
            is_exact=evidence.is_exact,
            prediction=answer,
            crop=crop,
            _evidence=evidence,
            _names=names,
        )

    def difference(self, class_name: str) -> Explanation:
        """Why the explained class and not this one: the difference of both maps, and of both scores.

        Positive values speak for the explained class, negative ones for the other.

        Args:
            class_name: the other class, as shown to people or as its folder is named.

        Raises:
            ConfigError: there is no such class, it is the explained one, or this is a difference already.

        Example:
            >>> classifier.explain("dog.jpg").difference("Harrier").image().save("why.png")  # doctest: +SKIP
        """
        evidence, names = self._parts()
        other = names.index(class_name)
        if names.labels[other] == self.label:
            raise ConfigError(f"difference({class_name!r}): that is the explained class; name another one")
        own, others = evidence.maps([names.labels.index(self.label), other])
        return Explanation(
            values=(own.values - others.values).numpy(),
            bias=own.bias - others.bias,
            score=own.score - others.score,
            class_name=self.class_name,
            label=self.label,
            method=self.method,
            is_exact=self.is_exact,
            prediction=self.prediction,
            crop=self.crop,
            other=names.class_names[other],
        )

    def of(self, class_name: str) -> Explanation:
        """The explanation of another class of the same image, without another pass through the network.

        Raises:
            ConfigError: there is no such class, or this is a difference.
        """
        evidence, names = self._parts()
        index = names.index(class_name)
        (found,) = evidence.maps([index])
        return Explanation.of_class(index, found, evidence, names, self.crop, self.prediction)

    @property
    def border_share(self) -> float:
        """The share of the positive values in the outer seventh of the image on each side, 0 to 1.

        A map with equal values everywhere has 0.49. An image without positive values has 0.
        """
        return border_share(self.values)

    def image(self) -> Image.Image:
        """The cropped image in gray with the map in color: yellow where most speaks for the class.

        The map of a difference is orange where the image speaks for the explained class, blue for the other one.
        """
        return overlay(as_image(self.crop), self.values, diverging=self.other is not None)

    def jpeg(self, side_px: int = SHOWN_PX) -> bytes:
        """The same as a small JPEG file, for pages and notebooks."""
        return small_jpeg(self.image(), side_px)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON values, without the map."""
        return self._facts().to_dict()

    def __str__(self) -> str:
        return self._facts().compared

    def __repr__(self) -> str:
        height, width = self.values.shape
        return f"Explanation({self}, {self.method}, {height} x {width}, score={self.score:.3f})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.explanations.view import explanation_view

        return explanation_view(self.image(), self._facts())

    def _facts(self) -> ExplanationFacts:
        return ExplanationFacts(
            self.class_name, self.label, self.other, self.method, self.is_exact, self.score, self.border_share
        )

    def _parts(self) -> tuple[Evidence, ClassNames]:
        if self._evidence is None or self._names is None:
            raise ConfigError("this is a difference of two classes: ask the explanation of one class")
        return self._evidence, self._names
