"""Decodes requests and encodes responses: bytes and headers in, bytes and a status out; pure functions, no torch."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from breedclf.data.images import sniff_format
from breedclf.errors import BreedclfError
from breedclf.inference.prediction import Prediction

JSON = "application/json"
JSON_LINES = "application/jsonlines"
SNIFFED = "application/x-image"
FORMAT_OF = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP"}
CONTENT_TYPES = (*FORMAT_OF, SNIFFED, JSON)
_OTHER_SPELLINGS = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/octet-stream": SNIFFED,
    "binary/octet-stream": SNIFFED,
    "image/*": SNIFFED,
}
ATTRIBUTES_HEADER = "x-amzn-sagemaker-custom-attributes"
PARITY_ID = "parity-check"  # the request id of the checks before a deployment, which aren't counted as requests

_TOP = re.compile(r"(?:^|[,;&\s])top=([^,;&\s]*)")
_MAX_SHOWN_CHARS = 60
_MAX_JSON_PARTS = 4096  # 32 images have about 200; parsing blocks all threads, so larger documents aren't parsed
_JSON_PARTS = b'[{,:"'
_WHITESPACE = b" \t\r\n\v\f"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Limits:
    """Limits of a request: bytes of the body, pixels of an image, number of images.

    All kinds of SageMaker endpoints accept 6 MiB; 50 million pixels is the largest common size of phone cameras.
    """

    max_body_bytes: int = 6 << 20
    max_pixels: int = 50_000_000
    max_images: int = 32


class RequestError(BreedclfError):
    """A request that can't be answered: an HTTP `status`, a machine-readable `code`, and a message for users."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BusyError(RequestError):
    """The server can't accept the request now; `retry_after` is in whole seconds."""

    def __init__(self, code: str, message: str, retry_after: int) -> None:
        super().__init__(503, code, message)
        self.retry_after = retry_after


def images_in(body: bytes, content_type: str | None, limits: Limits = Limits()) -> list[bytes]:
    """Extract the image files of a request body; each must be JPEG, PNG or WebP by its first bytes.

    Args:
        body: an image file, or `{"instances": [{"b64": "..."}, ...]}`.
        content_type: image/jpeg, image/png, image/webp, application/x-image (any of the three) or application/json;
            common variants such as image/jpg and application/octet-stream are accepted.
        limits: the limits of a request.

    Raises:
        RequestError: 400 for an empty or malformed body, 413 if it exceeds a limit, 415 for an unsupported type, or one
            that doesn't match the bytes.

    Example:
        >>> images_in(b"GIF89a", "image/png")
        Traceback (most recent call last):
        ...
        breedclf.serving.core.RequestError: the body is GIF, not PNG as in Content-Type image/png
    """
    kind = media_type(content_type)
    if len(body) > limits.max_body_bytes:
        raise too_large(limits)
    if not body:
        raise RequestError(400, "EmptyBody", "the body is empty; send an image file")
    if kind == JSON:
        return _images_of_json(body, limits)
    _check_format(body, kind, "the body")
    return [body]


def media_type(content_type: str | None) -> str:
    """Normalize a Content-Type header to one of CONTENT_TYPES.

    Raises:
        RequestError: 415 if it isn't supported.

    Example:
        >>> media_type("image/JPG; charset=binary")
        'image/jpeg'
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    kind = _OTHER_SPELLINGS.get(kind, kind)
    if kind in CONTENT_TYPES:
        return kind
    problem = f"Content-Type {_shown(kind)} isn't supported" if kind else "the request has no Content-Type"
    remedy = f"send one of {', '.join(CONTENT_TYPES)}"
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        remedy += "; with curl: curl --data-binary @dog.jpg -H 'Content-Type: image/jpeg' URL"
    raise RequestError(415, "UnsupportedMediaType", f"{problem}; {remedy}")


def check_encoding(content_encoding: str | None) -> None:
    """Check that the body isn't compressed.

    Raises:
        RequestError: 415 if it is compressed.
    """
    if (content_encoding or "identity").strip().lower() not in ("identity", ""):
        raise RequestError(
            415,
            "UnsupportedMediaType",
            f"Content-Encoding {_shown(content_encoding or '')} isn't supported; send the body uncompressed, since "
            "image files are already compressed",
        )


def too_large(limits: Limits) -> RequestError:
    """The error for a body over the limit."""
    return RequestError(
        413,
        "PayloadTooLarge",
        f"the body is longer than {limits.max_body_bytes:,} bytes; send a smaller image, or fewer in one request",
    )


def accepted_types(accept: str | None) -> frozenset[str]:
    """The response types that an Accept header allows.

    Raises:
        RequestError: 406 if it allows none that is supported.
    """
    ranges = {part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",") if not _refused(part)}
    if ranges & {"*/*", "application/*", ""}:
        return frozenset({JSON, JSON_LINES})
    allowed = frozenset(ranges & {JSON, JSON_LINES})
    if not allowed:
        raise RequestError(
            406, "NotAcceptable", f"Accept {_shown(accept or '')} isn't supported; responses are {JSON} or {JSON_LINES}"
        )
    return allowed


def requested_count(query: str | None, attributes: str | None) -> int | None:
    """The number of classes to return: `top=5` in the query or in SageMaker's custom attributes; None for all.

    Raises:
        RequestError: 400 if it isn't a whole number of at least 1.
    """
    for source in (query, attributes):
        if source and (match := _TOP.search(source)):
            if not re.fullmatch(r"[1-9]\d{0,5}", match[1]):
                raise RequestError(400, "BadParameter", f"top={_shown(match[1])} must be a whole number of at least 1")
            return int(match[1])
    return None


def answer(
    predictions: Sequence[Prediction],
    accepted: frozenset[str],
    top: int | None = None,
    explanation: dict[str, Any] | None = None,
) -> tuple[bytes, str]:
    """Encode predictions as a body and its content type: one JSON document for one image, JSON lines for several.

    `explanation` is that of a single image, as JSON values.

    Example:
        >>> from breedclf.inference.prediction import RankedClass
        >>> answer([Prediction((RankedClass("Cat", "1.Cat", 1.0),))], frozenset({JSON}))[1]
        'application/json'

    Raises:
        RequestError: 500 if a probability isn't finite.
    """
    extra = {} if explanation is None else {"explanation": explanation}
    try:
        documents = [
            json.dumps({**_document(prediction, top), **extra}, ensure_ascii=False, allow_nan=False).encode()
            for prediction in predictions
        ]
    except ValueError as error:
        raise RequestError(
            500,
            "ModelFailed",
            "the model's probabilities are NaN or infinite, which JSON doesn't support; its weights or preprocessing "
            "are damaged: train it again, or serve another model",
        ) from error
    if len(documents) == 1 and JSON in accepted:
        return documents[0], JSON
    return b"".join(each + b"\n" for each in documents), JSON_LINES


def error_body(error: RequestError, request_id: str) -> bytes:
    """The JSON body of an error."""
    return json.dumps({"error": {"code": error.code, "message": str(error)}, "request_id": request_id}).encode()


def service_error_body(error: RequestError, request_id: str) -> bytes:
    """The JSON body of an error as SageMaker wraps it: a ModelError (status 424) with the model server's response."""
    original = error_body(error, request_id).decode()
    document = {
        "Message": f"Received {error.status} from the model with message {original!r}.",
        "OriginalStatusCode": error.status,
        "OriginalMessage": original,
        "LogStreamArn": "",
    }
    return json.dumps({**document, **json.loads(original)}).encode()


def _document(prediction: Prediction, top: int | None) -> dict[str, Any]:
    document = prediction.to_dict(top)
    return {"predictions": document.pop("predictions"), **document}


def _images_of_json(body: bytes, limits: Limits) -> list[bytes]:
    _check_extent(body, limits)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "MalformedJson", f"the body is not valid JSON: {_shown(str(error))}") from error
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list) or not instances or set(document) != {"instances"}:
        raise RequestError(400, "MalformedJson", 'the JSON must be {"instances": [{"b64": "..."}, ...]}')
    if len(instances) > limits.max_images:
        raise _too_many(len(instances), limits)
    return [_image_of(instance, f"instance {number}") for number, instance in enumerate(instances)]


def _check_extent(body: bytes, limits: Limits) -> None:
    """Refuse complex JSON before it is parsed: base64 text and the expected keys have none of these characters."""
    parts = len(body) - len(body.translate(None, _JSON_PARTS))
    if parts <= _MAX_JSON_PARTS:
        return
    if (images := body.count(b'"b64"')) > limits.max_images:
        raise _too_many(images, limits)
    raise RequestError(
        400,
        "MalformedJson",
        f"the body is not valid JSON for this server: {parts:,} brackets, commas, colons and quotes are many more than "
        f'{{"instances": [{{"b64": "..."}}, ...]}} has with {limits.max_images} images',
    )


def _too_many(count: int, limits: Limits) -> RequestError:
    message = f"{count} images in one request; send at most {limits.max_images}"
    return RequestError(413, "TooManyPictures", message)


def _image_of(instance: object, name: str) -> bytes:
    text = instance.get("b64") if isinstance(instance, dict) and set(instance) == {"b64"} else None
    if not isinstance(text, str):
        raise RequestError(400, "MalformedJson", f'{name} must be {{"b64": "..."}}, an image file in base64')
    try:
        data = _from_base64(text)
    except ValueError as error:
        reason = f"{_shown(str(error))} in {_shown(text[:20])}"
        raise RequestError(
            400, "MalformedJson", f"{name} is not valid base64: {reason}; encode the file's bytes as they are"
        ) from error
    if not data:
        raise RequestError(400, "EmptyBody", f"{name} is empty; send an image file")
    _check_format(data, SNIFFED, name)
    return data


def _from_base64(text: str) -> bytes:
    """Decode common variants of base64: in lines, URL-safe, without padding, or as a data URL."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().rstrip().endswith(";base64"):
            raise ValueError("a data URL must start with data:image/jpeg;base64,")
        text = unquote(text) if "%" in text else text
    plain = text.encode("ascii").translate(_TO_STANDARD, _WHITESPACE).rstrip(b"=")
    return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _check_format(data: bytes, kind: str, name: str) -> None:
    found = sniff_format(data)
    if found is None:
        raise RequestError(400, "BadImage", f"{name} is not an image; it starts with {ascii(data[:12])[1:]}")
    if kind == SNIFFED and found not in FORMAT_OF.values():
        raise RequestError(415, "UnsupportedMediaType", f"{name} is {found}; send JPEG, PNG or WebP")
    if kind != SNIFFED and found != FORMAT_OF[kind]:
        message = f"{name} is {found}, not {FORMAT_OF[kind]} as in Content-Type {kind}"
        raise RequestError(415, "UnsupportedMediaType", message)


def _refused(accept_part: str) -> bool:
    return re.search(r";\s*q=0(\.0*)?\s*(;|$)", accept_part) is not None


def _shown(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
    return ascii(shown)
