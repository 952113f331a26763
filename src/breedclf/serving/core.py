"""What a request means and what its answer says: bytes and headers in, bytes and a status out; pure, no torch."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.errors import BreedclfError
from breedclf.learning.images import sniff_format
from breedclf.learning.prediction import Prediction

JSON = "application/json"
JSON_LINES = "application/jsonlines"
SNIFFED = "application/x-image"
FORMAT_OF = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP"}
CONTENT_TYPES = (*FORMAT_OF, SNIFFED, JSON)
ATTRIBUTES_HEADER = "x-amzn-sagemaker-custom-attributes"

_TOP = re.compile(r"(?:^|[,;&\s])top=([^,;&\s]*)")
_MAX_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Limits:
    """What a server takes: bytes of a body, pixels of a picture, pictures of a request.

    6 MiB is what every kind of SageMaker endpoint takes; 50 million pixels are the largest a phone commonly makes.
    """

    max_body_bytes: int = 6 << 20
    max_pixels: int = 50_000_000
    max_pictures: int = 32


class RequestError(BreedclfError):
    """A request can't be answered; `status` is HTTP's, `code` is a word for programs, the message is for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def pictures_in(body: bytes, content_type: str | None, limits: Limits = Limits()) -> list[bytes]:
    """The picture files that a request's body holds, each told by its first bytes to be JPEG, PNG or WebP.

    Args:
        body: a picture file, or `{"instances": [{"b64": "..."}, ...]}`.
        content_type: image/jpeg, image/png, image/webp, application/x-image (any of the three) or application/json.
        limits: how much is taken.

    Raises:
        RequestError: 400 for an empty or malformed body, 413 for too much, 415 for a type that isn't taken or that
            the bytes contradict.

    Example:
        >>> pictures_in(b"GIF89a", "image/png")
        Traceback (most recent call last):
        ...
        breedclf.serving.core.RequestError: the body is no PNG picture, as Content-Type image/png says: it is GIF
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        said = f"Content-Type {_shown(kind)} isn't taken" if kind else "the request has no Content-Type"
        raise RequestError(415, "UnsupportedMediaType", f"{said}; send one of {', '.join(CONTENT_TYPES)}")
    if len(body) > limits.max_body_bytes:
        raise too_large(limits)
    if not body:
        raise RequestError(400, "EmptyBody", "the body is empty; send a picture file")
    if kind == JSON:
        return _pictures_of_json(body, limits)
    _check_format(body, kind, "the body")
    return [body]


def too_large(limits: Limits) -> RequestError:
    """The refusal of a body over the limit."""
    return RequestError(
        413, "PayloadTooLarge", f"the body is longer than {limits.max_body_bytes:,} bytes; send a smaller picture"
    )


def accepted_types(accept: str | None) -> frozenset[str]:
    """Which of our two answer types an Accept header allows.

    Raises:
        RequestError: 406 when it allows neither.
    """
    ranges = {part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",") if not _refused(part)}
    if ranges & {"*/*", "application/*", ""}:
        return frozenset({JSON, JSON_LINES})
    allowed = frozenset(ranges & {JSON, JSON_LINES})
    if not allowed:
        raise RequestError(
            406, "NotAcceptable", f"Accept {_shown(accept or '')} can't be met; answers are {JSON} or {JSON_LINES}"
        )
    return allowed


def wanted_count(query: str | None, attributes: str | None) -> int | None:
    """How many classes an answer names: `top=5` in the query or in SageMaker's custom attributes; None names all.

    Raises:
        RequestError: 400 when it isn't a whole number from 1.
    """
    for source in (query, attributes):
        if source and (match := _TOP.search(source)):
            if not re.fullmatch(r"[1-9]\d{0,5}", match[1]):
                raise RequestError(400, "BadParameter", f"top={_shown(match[1])} must be a whole number from 1")
            return int(match[1])
    return None


def answer(predictions: Sequence[Prediction], accepted: frozenset[str], top: int | None = None) -> tuple[bytes, str]:
    """The body and its type: one JSON document for one picture, a line for each of several.

    Example:
        >>> from breedclf.learning.prediction import RankedClass
        >>> answer([Prediction((RankedClass("Cat", "1.Cat", 1.0),))], frozenset({JSON}))[1]
        'application/json'
    """
    documents = [_document(prediction, top) for prediction in predictions]
    if len(documents) == 1 and JSON in accepted:
        return json.dumps(documents[0], ensure_ascii=False).encode(), JSON
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in documents), JSON_LINES


def error_body(error: RequestError, request_id: str) -> bytes:
    """The JSON that tells what was wrong."""
    return json.dumps({"error": {"code": error.code, "message": str(error)}, "request_id": request_id}).encode()


def service_error_body(error: RequestError, request_id: str) -> bytes:
    """The same as SageMaker wraps it for its clients: a ModelError (status 424) with what the model's server said."""
    original = error_body(error, request_id).decode()
    document = {
        "Message": f"Received {error.status} from the model with message {original!r}.",
        "OriginalStatusCode": error.status,
        "OriginalMessage": original,
        "LogStreamArn": "",
    }
    return json.dumps({**document, **json.loads(original)}).encode()


def _document(prediction: Prediction, top: int | None) -> dict[str, Any]:
    ranked = prediction.ranked if top is None else prediction.ranked[:top]
    return {"predictions": [each.to_dict() for each in ranked], "known": prediction.known}


def _pictures_of_json(body: bytes, limits: Limits) -> list[bytes]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "MalformedJson", f"the body is not valid JSON: {_shown(str(error))}") from error
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list) or not instances or set(document) != {"instances"}:
        raise RequestError(400, "MalformedJson", 'the JSON must be {"instances": [{"b64": "..."}, ...]}')
    if len(instances) > limits.max_pictures:
        raise RequestError(
            413, "TooManyPictures", f"{len(instances)} pictures in one request; send at most {limits.max_pictures}"
        )
    return [_picture_of(instance, f"instance {number}") for number, instance in enumerate(instances)]


def _picture_of(instance: object, name: str) -> bytes:
    text = instance.get("b64") if isinstance(instance, dict) and set(instance) == {"b64"} else None
    if not isinstance(text, str):
        raise RequestError(400, "MalformedJson", f'{name} must be {{"b64": "..."}}, a picture file in base64')
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, "MalformedJson", f"{name} is not valid base64: {_shown(str(error))}") from error
    if not data:
        raise RequestError(400, "EmptyBody", f"{name} is empty; send a picture file")
    _check_format(data, SNIFFED, name)
    return data


def _check_format(data: bytes, kind: str, name: str) -> None:
    found = sniff_format(data)
    if found is None:
        raise RequestError(400, "BadImage", f"{name} is no picture; it starts with {ascii(data[:12])[1:]}")
    if kind == SNIFFED and found not in FORMAT_OF.values():
        raise RequestError(415, "UnsupportedMediaType", f"{name} is {found}; send JPEG, PNG or WebP")
    if kind != SNIFFED and found != FORMAT_OF[kind]:
        message = f"{name} is no {FORMAT_OF[kind]} picture, as Content-Type {kind} says: it is {found}"
        raise RequestError(415, "UnsupportedMediaType", message)


def _refused(accept_part: str) -> bool:
    return re.search(r";\s*q=0(\.0*)?\s*(;|$)", accept_part) is not None


def _shown(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
    return ascii(shown)
