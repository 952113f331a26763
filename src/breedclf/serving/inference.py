"""SageMaker's four handler functions, imported by a model's `code/inference.py`.

If the toolkit passes its context, errors are returned as responses rather than raised, since the toolkit responds to
exceptions with a traceback in the body.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import JSON, Limits, RequestError, accepted_types, answer, error_body, images_in
from breedclf.serving.engines.engine import Engine, TorchEngine

log: logging.Logger = logging.getLogger(__name__)

_LIMITS = Limits()


class ResponseContext(Protocol):
    """The part of the toolkit's context that sets the status of a response."""

    def set_response_status(self, *, code: int, phrase: str) -> None:
        """Set the HTTP status of the response."""


@dataclass(frozen=True)
class Refusal:
    """An error, passed through the remaining functions instead of images or predictions."""

    error: RequestError


def model_fn(model_dir: str, context: ResponseContext | None = None) -> Engine:
    """Load and verify the model.

    Raises:
        ArtifactError: there is no model, or it was modified after it was written.
    """
    del context
    return TorchEngine(Classifier(Path(model_dir)), _LIMITS)


def input_fn(body: bytes | str, content_type: str, context: ResponseContext | None = None) -> list[bytes] | Refusal:
    """Extract the image files of a request."""
    del context
    data = body.encode() if isinstance(body, str) else bytes(body)
    try:
        return images_in(data, content_type, _LIMITS)
    except RequestError as error:
        return Refusal(error)


def predict_fn(
    data: list[bytes] | Refusal, model: Engine, context: ResponseContext | None = None
) -> list[Prediction] | Refusal:
    """Predict the class of each image."""
    del context
    if isinstance(data, Refusal):
        return data
    try:
        return model.forward([model.decode(image) for image in data])
    except RequestError as error:
        return Refusal(error)
    except Exception:
        log.exception("a request failed")
        return Refusal(RequestError(500, "InternalError", "internal error; see the server's log"))


def output_fn(
    prediction: Sequence[Prediction] | Refusal, accept: str, context: ResponseContext | None = None
) -> tuple[bytes, str]:
    """Encode the response body and its content type."""
    try:
        if isinstance(prediction, Refusal):
            raise prediction.error
        return answer(prediction, accepted_types(accept))
    except RequestError as error:
        phrase = http.HTTPStatus(error.status).phrase
        if context is None:
            raise _toolkit_error(error, phrase) from None
        context.set_response_status(code=error.status, phrase=phrase)
        return error_body(error, ""), JSON


def _toolkit_error(error: RequestError, phrase: str) -> Exception:
    try:
        from sagemaker_inference.errors import BaseInferenceToolkitError
    except ImportError:
        return error
    refusal: Exception = BaseInferenceToolkitError(error.status, error_body(error, "").decode(), phrase)
    return refusal
