"""Explanations in responses: what a request asks for, which classes it names, and the JSON of an explanation."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote

import torch

from breedclf.errors import ArtifactError, ConfigError
from breedclf.explanations.classes import ClassNames
from breedclf.explanations.explainer import Explainer
from breedclf.explanations.explanation import Explanation
from breedclf.serving.core import RequestError

_ON, _OFF = ("1", "true"), ("0", "false")
_MOST_PARAMETERS = 100
_MOST_NAME_CHARS = 200
_DIGITS = 6


@dataclass(frozen=True)
class ExplanationRequest:
    """The class to explain, the most probable one if None, and the class to compare it with, if any."""

    class_name: str | None = None
    against: str | None = None


@dataclass(frozen=True)
class ChosenClasses:
    """The same as positions among the model's outputs."""

    index: int | None
    against: str | None


def requested_explanation(query: str | None, attributes: str | None) -> ExplanationRequest | None:
    """What `explain=1`, `class=NAME` and `against=NAME` ask for, in the query or in SageMaker's custom attributes.

    Names in custom attributes are percent-encoded where they have spaces, commas or other letters than ASCII.

    Raises:
        RequestError: 400 if `explain` is neither 1 nor 0, or a class is named without it.

    Example:
        >>> requested_explanation("explain=1&class=Wire%20Fox", None)
        ExplanationRequest(class_name='Wire Fox', against=None)
    """
    given = dict(reversed([*_in_query(query or ""), *_in_attributes(attributes or "")]))  # the first of a name counts
    explain, class_name, against = (given.get(name) for name in ("explain", "class", "against"))
    if explain is not None and explain.lower() not in (*_ON, *_OFF):
        raise _bad_parameter(f"explain={explain[:20]!a} must be 1 or 0")
    if explain is None or explain.lower() in _OFF:
        if class_name is not None or against is not None:
            raise _bad_parameter("class and against choose what to explain: add explain=1")
        return None
    return ExplanationRequest(class_name, against)


def only_image(images: list[bytes]) -> bytes:
    """The image of a request that is to be explained.

    Raises:
        RequestError: 400 if there are several.
    """
    if len(images) != 1:
        raise _bad_parameter(f"explain=1 explains one image per request, not {len(images)}: send them one by one")
    return images[0]


def chosen_classes(wanted: ExplanationRequest, names: ClassNames) -> ChosenClasses:
    """Find the classes of a request.

    Raises:
        RequestError: 400 if there is none of such a name, with the nearest names; or both are the same.
    """
    index = None if wanted.class_name is None else _index("class", wanted.class_name, names)
    if wanted.against is None:
        return ChosenClasses(index, None)
    other = _index("against", wanted.against, names)
    if other == index:
        raise _bad_parameter(f"class and against are both {names.class_names[other]!a}: name two classes")
    return ChosenClasses(index, names.labels[other])


def explanation_of(explainer: Explainer, crop: torch.Tensor, chosen: ChosenClasses) -> Explanation:
    """Explain an image uint8 [3, crop, crop]; call it in the thread of the network.

    Raises:
        RequestError: 500 if the model's probabilities aren't finite, 400 if the most probable class is `against`.
    """
    try:
        (explanation,) = explainer.explanations(crop[None], [chosen.index])
    except ArtifactError as error:
        raise RequestError(500, "ModelFailed", str(error)) from error
    if chosen.against is None:
        return explanation
    if chosen.against == explanation.label:
        raise _bad_parameter(
            f"against={explanation.class_name!a} is the most probable class itself: add class=NAME to explain another "
            "one, or compare with another one"
        )
    return explanation.difference(chosen.against)


def document_of(explanation: Explanation) -> dict[str, Any]:
    """The JSON values of an explanation, with the map drawn over the cropped image as a PNG in base64."""
    file = BytesIO()
    explanation.image().save(file, "PNG")
    return {
        **explanation.to_dict(),
        "bias": round(explanation.bias, _DIGITS),
        "score": round(explanation.score, _DIGITS),
        "border_share": round(explanation.border_share, _DIGITS),
        "values": [[round(float(value), _DIGITS) for value in row] for row in explanation.values],
        "png": base64.b64encode(file.getvalue()).decode(),
    }


def _in_query(query: str) -> Iterator[tuple[str, str]]:
    try:
        yield from parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise _bad_parameter(f"the query has more than {_MOST_PARAMETERS} parameters") from error


def _in_attributes(attributes: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"[,;&\s]", attributes):
        name, found, value = part.partition("=")
        if found:
            yield name, unquote(value)


def _index(parameter: str, name: str, names: ClassNames) -> int:
    if len(name) > _MOST_NAME_CHARS:
        raise _bad_parameter(f"{parameter} has {len(name):,} characters: the model has no such class")
    try:
        return names.index(name)
    except ConfigError as error:
        raise _bad_parameter(str(error).replace("class_name=", f"{parameter}=", 1)) from error


def _bad_parameter(message: str) -> RequestError:
    return RequestError(400, "BadParameter", message)
