"""Reads the responses of a model's server."""

from __future__ import annotations

import json
from dataclasses import dataclass

from breedclf.api.explained import EndpointExplanation, ExplainedPrediction
from breedclf.errors import EndpointError
from breedclf.files.typed import typed
from breedclf.inference.prediction import Prediction, RankedClass

_ROUNDING = 0.01


def prediction_of(answer: bytes) -> Prediction:
    """The prediction in a server's response for one image.

    Raises:
        EndpointError: it isn't one, or its probabilities aren't from 0 to 1.
    """
    try:
        found = typed(_Answer, json.loads(answer))
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"the model's server sent a response that can't be read: {error}") from error
    if not found.predictions or not all(-_ROUNDING <= each.probability <= 1 + _ROUNDING for each in found.predictions):
        raise EndpointError("the model's server sent a response without probabilities from 0 to 1; check its model")
    return Prediction(found.predictions, found.known, found.distance)


def explained_prediction_of(answer: bytes) -> ExplainedPrediction:
    """The prediction and its explanation in a server's response for one image.

    Raises:
        EndpointError: it isn't one, or has no explanation.
    """
    plain = prediction_of(answer)
    given = json.loads(answer).get("explanation")
    if given is None:
        raise EndpointError(
            "the model's server sent no explanation: its breedclf is older than this one; deploy the model again"
        )
    try:
        found = typed(EndpointExplanation, {**given, "rows": given["values"]})
    except (ValueError, TypeError, KeyError) as error:
        raise EndpointError(f"the model's server sent an explanation that can't be read: {error}") from error
    return ExplainedPrediction(plain.ranked, plain.known, plain.distance, explanation=found)


@dataclass(frozen=True)
class _Answer:
    predictions: tuple[RankedClass, ...]
    known: bool = True
    distance: float | None = None
