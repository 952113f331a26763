"""SageMaker's four handler functions, imported by a model's `code/inference.py`.

If the toolkit passes its context, errors are returned as responses rather than raised, since the toolkit responds to
exceptions with a traceback in the body; and custom attributes may ask for an explanation.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import (
    ATTRIBUTES_HEADER,
    JSON,
    Limits,
    RequestError,
    accepted_types,
    answer,
    error_body,
    images_in,
)
from breedclf.serving.engines.engine import Engine, TorchEngine
from breedclf.serving.explaining import (
    ExplanationRequest,
    chosen_classes,
    document_of,
    explanation_of,
    only_image,
    requested_explanation,
)

log: logging.Logger = logging.getLogger(__name__)

_LIMITS = Limits()


class ResponseContext(Protocol):
    """The part of the toolkit's context that has the request's headers and sets the status of a response."""

    @property
    def request_processor(self) -> Sequence[Any]:
        """One object per request, with `get_request_properties()`: its headers."""

    def set_response_status(self, *, code: int, phrase: str) -> None:
        """Set the HTTP status of the response."""


@dataclass(frozen=True)
class Refusal:
    """An error, passed through the remaining functions instead of images or predictions."""

    error: RequestError


@dataclass(frozen=True)
class ImageToExplain:
    """The image of a request that asks for an explanation."""

    image: bytes
    wanted: ExplanationRequest


@dataclass(frozen=True)
class ExplainedPrediction:
    """The prediction of an image, and its explanation as JSON values."""

    prediction: Prediction
    explanation: dict[str, Any]


def model_fn(model_dir: str, context: ResponseContext | None = None) -> Engine:
    """Load and verify the model.

    Raises:
        ArtifactError: there is no model, or it was modified after it was written.
    """
    del context
    return TorchEngine(Classifier(Path(model_dir)), _LIMITS)


def input_fn(
    body: bytes | str, content_type: str, context: ResponseContext | None = None
) -> list[bytes] | ImageToExplain | Refusal:
    """Extract the image files of a request."""
    data = body.encode() if isinstance(body, str) else bytes(body)
    try:
        wanted = requested_explanation(None, _attributes(context))
        images = images_in(data, content_type, _LIMITS)
        return images if wanted is None else ImageToExplain(only_image(images), wanted)
    except RequestError as error:
        return Refusal(error)


def predict_fn(
    data: list[bytes] | ImageToExplain | Refusal, model: Engine, context: ResponseContext | None = None
) -> list[Prediction] | ExplainedPrediction | Refusal:
    """Predict the class of each image."""
    del context
    if isinstance(data, Refusal):
        return data
    try:
        if isinstance(data, ImageToExplain):
            return _explained(data, model)
        return model.forward([model.decode(image) for image in data])
    except RequestError as error:
        return Refusal(error)
    except Exception:
        log.exception("a request failed")
        return Refusal(RequestError(500, "InternalError", "internal error; see the server's log"))


def output_fn(
    prediction: Sequence[Prediction] | ExplainedPrediction | Refusal,
    accept: str,
    context: ResponseContext | None = None,
) -> tuple[bytes, str]:
    """Encode the response body and its content type."""
    try:
        if isinstance(prediction, Refusal):
            raise prediction.error
        if isinstance(prediction, ExplainedPrediction):
            found = [prediction.prediction]
            return answer(found, accepted_types(accept), explanation=prediction.explanation)
        return answer(prediction, accepted_types(accept))
    except RequestError as error:
        phrase = http.HTTPStatus(error.status).phrase
        if context is None:
            raise _toolkit_error(error, phrase) from None
        context.set_response_status(code=error.status, phrase=phrase)
        return error_body(error, ""), JSON


def _explained(asked: ImageToExplain, model: Engine) -> ExplainedPrediction:
    explainer = model.explainer()
    chosen = chosen_classes(asked.wanted, explainer.names)
    explanation = explanation_of(explainer, model.decode(asked.image), chosen)
    return ExplainedPrediction(explanation.prediction, document_of(explanation))


def _attributes(context: ResponseContext | None) -> str | None:
    """The custom attributes of a request; the model servers spell the header in different cases."""
    if context is None:
        return None
    headers = context.request_processor[0].get_request_properties()
    return next((str(value) for name, value in headers.items() if name.lower() == ATTRIBUTES_HEADER), None)


def _toolkit_error(error: RequestError, phrase: str) -> Exception:
    try:
        from sagemaker_inference.errors import BaseInferenceToolkitError
    except ImportError:
        return error
    refusal: Exception = BaseInferenceToolkitError(error.status, error_body(error, "").decode(), phrase)
    return refusal
