"""SageMaker's four handler functions over the serving core; an artifact's `code/inference.py` takes them from here.

An error is answered, not raised, wherever the toolkit hands over its context: what is raised it answers with a
traceback in the body.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import JSON, Limits, RequestError, accepted_types, answer, error_body, images_in
from breedclf.serving.engines.engine import Engine, TorchEngine

log: logging.Logger = logging.getLogger(__name__)

_LIMITS = Limits()


@dataclass(frozen=True)
class Refusal:
    """What goes through the remaining functions in place of pictures or predictions."""

    error: RequestError


def model_fn(model_dir: str, context: Any = None) -> Engine:
    """The model, loaded and checked.

    Raises:
        ArtifactError: the folder holds no model, or not the one that was written.
    """
    del context
    return TorchEngine(Classifier(Path(model_dir)), _LIMITS)


def input_fn(body: bytes | str, content_type: str, context: Any = None) -> list[bytes] | Refusal:
    """The picture files that a request holds."""
    del context
    data = body.encode() if isinstance(body, str) else bytes(body)
    try:
        return images_in(data, content_type, _LIMITS)
    except RequestError as error:
        return Refusal(error)


def predict_fn(data: list[bytes] | Refusal, model: Engine, context: Any = None) -> list[Prediction] | Refusal:
    """A prediction for each picture."""
    del context
    if isinstance(data, Refusal):
        return data
    try:
        return model.forward([model.decode(picture) for picture in data])
    except RequestError as error:
        return Refusal(error)
    except Exception:
        log.exception("a request failed")
        return Refusal(RequestError(500, "InternalError", "the server failed; its log tells why"))


def output_fn(prediction: Sequence[Prediction] | Refusal, accept: str, context: Any = None) -> tuple[bytes, str]:
    """The answer and its type."""
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
