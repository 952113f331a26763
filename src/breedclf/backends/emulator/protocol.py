"""How AWS's clients ask and are answered: which service a request is for, JSON and XML bodies, errors; pure."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
JSON_TYPE = "application/x-amz-json-1.1"

_SCOPE = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SERVICE_OF_TARGET = {"SageMaker": "sagemaker", "Logs_20140328": "logs"}
_PROTOCOLS = {"sagemaker": "json", "logs": "json", "runtime": "rest-json", "s3": "rest-xml", "sts": "query"}
_PROTOCOLS |= {"iam": "query", "monitoring": "query"}


class ServiceError(Exception):
    """An answer that refuses: AWS's word for it, its sentence, and HTTP's status."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.fields = fields


@dataclass(frozen=True)
class Call:
    """What a request asks for: `runtime` is the service that invokes endpoints, `operation` is empty where the path
    tells it."""

    service: str
    operation: str
    region: str = DEFAULT_REGION
    access_key: str = ""


@dataclass(frozen=True)
class Answer:
    """What goes back, whatever carries it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def call_of(headers: Mapping[str, str], path: str, query: str, body: bytes) -> Call:
    """Which service and operation a request is for, by its target header, its signature's scope or its form.

    Example:
        >>> call_of({"x-amz-target": "SageMaker.ListModels"}, "/", "", b"").operation
        'ListModels'
    """
    scope = _SCOPE.search(headers.get("authorization", "")) or _SCOPE.search(_presigned(query))
    region = scope["region"] if scope else DEFAULT_REGION
    key = scope["key"] if scope else ""
    prefix, _, operation = headers.get("x-amz-target", "").rpartition(".")
    if prefix:
        signed_for = scope["service"] if scope else prefix.lower()
        return Call(_SERVICE_OF_TARGET.get(prefix, signed_for), operation, region, key)
    service = scope["service"] if scope else "s3"
    if service == "sagemaker":
        return Call("runtime", _runtime_operation(path), region, key)
    if _PROTOCOLS.get(service) == "query":
        return Call(service, dict(form_of(body)).get("Action", ""), region, key)
    return Call(service, "", region, key)


def form_of(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a form, as the older services ask."""
    return parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True)


def json_answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    """A JSON 1.1 answer."""
    return Answer(json.dumps(document).encode(), status, {"Content-Type": JSON_TYPE})


def xml_answer(operation: str, namespace: str, result: str) -> Answer:
    """An answer of the query protocol; `result` is the inside of its result, as XML."""
    text = (
        f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{new_request_id()}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Answer(text.encode(), 200, {"Content-Type": "text/xml"})


def error_answer(error: ServiceError, service: str) -> Answer:
    """The refusal in the form that the service's clients read."""
    protocol = _PROTOCOLS.get(service, "json")
    message = str(error)
    if protocol == "rest-xml":
        text = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(message)}</Message></Error>"
        return Answer(text.encode(), error.status, {"Content-Type": "application/xml"})
    if protocol == "query":
        inner = f"<Type>Sender</Type><Code>{escape(error.code)}</Code><Message>{escape(message)}</Message>"
        text = f"<ErrorResponse><Error>{inner}</Error><RequestId>{new_request_id()}</RequestId></ErrorResponse>"
        return Answer(text.encode(), error.status, {"Content-Type": "text/xml"})
    headers = {"x-amzn-ErrorType": error.code}
    if protocol == "rest-json":
        document = {"Message": message, **error.fields}
        return Answer(json.dumps(document).encode(), error.status, {"Content-Type": "application/json", **headers})
    document = {"__type": error.code, "message": message, **error.fields}
    return Answer(json.dumps(document).encode(), error.status, {"Content-Type": JSON_TYPE, **headers})


def new_request_id() -> str:
    """An id in the form of AWS's."""
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def not_emulated(service: str, operation: str) -> ServiceError:
    """The answer to whatever AWS has and the emulator hasn't."""
    asked = f"{service}:{operation}" if operation else service
    return ServiceError(
        "UnknownOperationException", f"breedclf's emulator doesn't emulate {asked}; AWS itself may well have it", 400
    )


def _presigned(query: str) -> str:
    """The scope of a presigned address, in the form of a header's."""
    return "".join(f"Credential={value}" for name, value in parse_qsl(query) if name.lower() == "x-amz-credential")


def _runtime_operation(path: str) -> str:
    match = re.fullmatch(r"/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)", path)
    names = {"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync"}
    return names.get(match[1], "InvokeEndpointWithResponseStream") if match else path
