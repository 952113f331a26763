"""What a request means and what its answer says: bytes and headers in, bytes and a status out; pure, no torch."""

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

_TOP = re.compile(r"(?:^|[,;&\s])top=([^,;&\s]*)")
_MAX_SHOWN_CHARS = 60
_MAX_JSON_PARTS = 4096  # 32 images have some 200; parsing holds every thread up, so that more isn't begun
_JSON_PARTS = b'[{,:"'
_WHITESPACE = b" \t\r\n\v\f"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Limits:
    """What a server takes: bytes of a body, pixels of an image, images of a request.

    6 MiB is what every kind of SageMaker endpoint takes; 50 million pixels are the largest a phone commonly makes.
    """

    max_body_bytes: int = 6 << 20
    max_pixels: int = 50_000_000
    max_images: int = 32


class RequestError(BreedclfError):
    """A request can't be answered; `status` is HTTP's, `code` is a word for programs, the message is for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BusyError(RequestError):
    """The server can't take the request now; `retry_after` is in whole seconds."""

    def __init__(self, code: str, message: str, retry_after: int) -> None:
        super().__init__(503, code, message)
        self.retry_after = retry_after


def images_in(body: bytes, content_type: str | None, limits: Limits = Limits()) -> list[bytes]:
    """The image files that a request's body holds, each told by its first bytes to be JPEG, PNG or WebP.

    Args:
        body: an image file, or `{"instances": [{"b64": "..."}, ...]}`.
        content_type: image/jpeg, image/png, image/webp, application/x-image (any of the three) or application/json;
            also under the other names that clients give them, like image/jpg and application/octet-stream.
        limits: how much is taken.

    Raises:
        RequestError: 400 for an empty or malformed body, 413 for too much, 415 for a type that isn't taken or that
            the bytes contradict.

    Example:
        >>> images_in(b"GIF89a", "image/png")
        Traceback (most recent call last):
        ...
        breedclf.serving.core.RequestError: the body is no PNG image, as Content-Type image/png says: it is GIF
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
    """The one of CONTENT_TYPES that a Content-Type header means.

    Raises:
        RequestError: 415 when it means none.

    Example:
        >>> media_type("image/JPG; charset=binary")
        'image/jpeg'
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    kind = _OTHER_SPELLINGS.get(kind, kind)
    if kind in CONTENT_TYPES:
        return kind
    said = f"Content-Type {_shown(kind)} isn't taken" if kind else "the request has no Content-Type"
    remedy = f"send one of {', '.join(CONTENT_TYPES)}"
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        remedy += "; with curl: curl --data-binary @dog.jpg -H 'Content-Type: image/jpeg' URL"
    raise RequestError(415, "UnsupportedMediaType", f"{said}; {remedy}")


def check_encoding(content_encoding: str | None) -> None:
    """See that the body came as it is.

    Raises:
        RequestError: 415 when it was compressed.
    """
    if (content_encoding or "identity").strip().lower() not in ("identity", ""):
        raise RequestError(
            415,
            "UnsupportedMediaType",
            f"Content-Encoding {_shown(content_encoding or '')} isn't taken; send the body uncompressed, images are "
            "small already",
        )


def too_large(limits: Limits) -> RequestError:
    """The refusal of a body over the limit."""
    return RequestError(
        413,
        "PayloadTooLarge",
        f"the body is longer than {limits.max_body_bytes:,} bytes; send a smaller image, or fewer in one request",
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
    """The body and its type: one JSON document for one image, a line for each of several.

    Example:
        >>> from breedclf.inference.prediction import RankedClass
        >>> answer([Prediction((RankedClass("Cat", "1.Cat", 1.0),))], frozenset({JSON}))[1]
        'application/json'

    Raises:
        RequestError: 500 when a probability is no number.
    """
    try:
        documents = [
            json.dumps(_document(prediction, top), ensure_ascii=False, allow_nan=False).encode()
            for prediction in predictions
        ]
    except ValueError as error:
        raise RequestError(
            500,
            "ModelFailed",
            "the model's probabilities aren't numbers (NaN or infinite), which JSON can't hold; its weights or its "
            "preprocessing are damaged: train it again, or serve another model",
        ) from error
    if len(documents) == 1 and JSON in accepted:
        return documents[0], JSON
    return b"".join(each + b"\n" for each in documents), JSON_LINES


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
    """Refuse what can't be a request before it is parsed: neither base64 nor our keys hold any of these characters."""
    parts = len(body) - len(body.translate(None, _JSON_PARTS))
    if parts <= _MAX_JSON_PARTS:
        return
    if (pictures := body.count(b'"b64"')) > limits.max_images:
        raise _too_many(pictures, limits)
    raise RequestError(
        400,
        "MalformedJson",
        f"the body is not valid JSON for this server: {parts:,} brackets, commas, colons and quotes are far more than "
        f'{{"instances": [{{"b64": "..."}}, ...]}} has with {limits.max_images} images',
    )


def _too_many(pictures: int, limits: Limits) -> RequestError:
    message = f"{pictures} images in one request; send at most {limits.max_images}"
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
    """Base64 as it is met: in lines, for URLs, without padding, or as a data URL, whose type is told by the bytes."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().rstrip().endswith(";base64"):
            raise ValueError("a data URL begins with data:image/jpeg;base64,")
        text = unquote(text) if "%" in text else text
    plain = text.encode("ascii").translate(_TO_STANDARD, _WHITESPACE).rstrip(b"=")
    return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _check_format(data: bytes, kind: str, name: str) -> None:
    found = sniff_format(data)
    if found is None:
        raise RequestError(400, "BadImage", f"{name} is no image; it starts with {ascii(data[:12])[1:]}")
    if kind == SNIFFED and found not in FORMAT_OF.values():
        raise RequestError(415, "UnsupportedMediaType", f"{name} is {found}; send JPEG, PNG or WebP")
    if kind != SNIFFED and found != FORMAT_OF[kind]:
        message = f"{name} is no {FORMAT_OF[kind]} image, as Content-Type {kind} says: it is {found}"
        raise RequestError(415, "UnsupportedMediaType", message)


def _refused(accept_part: str) -> bool:
    return re.search(r";\s*q=0(\.0*)?\s*(;|$)", accept_part) is not None


def _shown(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
    return ascii(shown)
