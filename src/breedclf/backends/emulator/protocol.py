"""AWS's protocols: the service of a request, and bodies and errors of responses; pure."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
JSON_TYPE = "application/x-amz-json-1.1"

_SCOPE = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SERVICE_OF_TARGET = {"SageMaker": "sagemaker", "Logs_20140328": "logs"}
_RUNTIME_PATH = re.compile(r"/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)")
_REST_XML = {"cloudfront", "route53"}  # besides S3, whose errors have their own format
SWITCHES = "emulator"  # the service that the emulator's own switches are signed for


class ServiceError(Exception):
    """An error response: AWS's code, its message, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.fields = fields


@dataclass(frozen=True)
class Call:
    """What a request calls: `runtime` is the service that invokes endpoints, `operation` is empty where the path
    identifies it; the response uses the same `protocol`."""

    service: str
    operation: str
    protocol: str
    region: str = DEFAULT_REGION
    access_key: str = ""


@dataclass(frozen=True)
class Answer:
    """A response without its transport."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def call_of(headers: Mapping[str, str], path: str, query: str) -> Call:
    """The service and protocol of a request by its headers and path; the body isn't read.

    The operation of a form is in its body; `with_action` reads it.

    Example:
        >>> call_of({"x-amz-target": "SageMaker.ListModels"}, "/", "").operation
        'ListModels'
    """
    scope = _SCOPE.search(headers.get("authorization", "")) or _SCOPE.search(_presigned(query))
    region = scope["region"] if scope else DEFAULT_REGION
    key = scope["key"] if scope else ""
    signed_for = scope["service"] if scope else ""
    if path.startswith("/_emulator/"):
        return Call(SWITCHES, path, "json", region, key)
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        operation = path.rpartition("/")[2]
        return Call(signed_for, operation, "rpc-v2-cbor", region, key)
    prefix, _, operation = headers.get("x-amz-target", "").rpartition(".")
    if prefix:
        service = _SERVICE_OF_TARGET.get(prefix, signed_for or prefix.lower())
        return Call(service, operation, "json", region, key)
    if signed_for == "sagemaker" or (not signed_for and _RUNTIME_PATH.fullmatch(path)):
        return Call("runtime", _runtime_operation(path), "rest-json", region, key)
    if signed_for in _REST_XML:
        return Call(signed_for, "", "rest-xml", region, key)
    if signed_for.startswith("s3"):
        return Call(signed_for, "", "s3", region, key)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded") or "Action=" in query:
        return Call(signed_for or "sts", "", "ec2" if signed_for == "ec2" else "query", region, key)
    return Call(signed_for, "", "rest-json", region, key) if signed_for else Call("s3", "", "s3", region, key)


def with_action(call: Call, query: str, body: bytes) -> Call:
    """The call with the operation of a form."""
    if call.protocol not in ("query", "ec2") or call.operation:
        return call
    return replace(call, operation=dict(form_of(body) or parse_qsl(query)).get("Action", ""))


def signed_service(call: Call) -> str:
    """The service that a call must be signed for."""
    return "sagemaker" if call.service == "runtime" else call.service


def form_of(body: bytes) -> list[tuple[str, str]]:
    """The name and value pairs of a form, which older services use."""
    return parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True)


def json_answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    """A JSON 1.1 answer."""
    return Answer(json.dumps(document).encode(), status, {"Content-Type": JSON_TYPE})


def xml_answer(operation: str, namespace: str, result: str) -> Answer:
    """An answer of the query protocol; `result` is the content of its result element as XML."""
    text = (
        f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{new_request_id()}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Answer(text.encode(), 200, {"Content-Type": "text/xml"})


def error_answer(error: ServiceError, protocol: str) -> Answer:
    """The error in the format of this protocol."""
    code, message = error.code, str(error)
    inner = f"<Code>{_text(code)}</Code><Message>{_text(message)}</Message>"
    if protocol == "s3":
        return Answer(f"<Error>{inner}</Error>".encode(), error.status, {"Content-Type": "application/xml"})
    if protocol in ("query", "rest-xml"):
        text = f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error><RequestId>{new_request_id()}</RequestId>"
        return Answer(f"{text}</ErrorResponse>".encode(), error.status, {"Content-Type": "text/xml"})
    if protocol == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{new_request_id()}</RequestID></Response>"
        return Answer(text.encode(), error.status, {"Content-Type": "text/xml"})
    if protocol == "rpc-v2-cbor":
        headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return Answer(_cbor_map({"__type": code, "message": message}), error.status, headers)
    headers = {"x-amzn-ErrorType": code}
    if protocol == "rest-json":
        document = {"Message": message, **error.fields}
        return Answer(json.dumps(document).encode(), error.status, {"Content-Type": "application/json", **headers})
    document = {"__type": code, "message": message, **error.fields}
    return Answer(json.dumps(document).encode(), error.status, {"Content-Type": JSON_TYPE, **headers})


def new_request_id() -> str:
    """A request id in AWS's format."""
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def not_emulated(service: str, operation: str) -> ServiceError:
    """The error for an operation that the emulator doesn't have."""
    name = f"{service}:{operation}" if operation else service
    return ServiceError(
        "UnknownOperationException", f"breedclf's emulator doesn't emulate {name}; AWS itself may support it", 400
    )


def _presigned(query: str) -> str:
    """The scope of a presigned URL in the format of the Authorization header."""
    return "".join(f"Credential={value}" for name, value in parse_qsl(query) if name.lower() == "x-amz-credential")


def _runtime_operation(path: str) -> str:
    match = _RUNTIME_PATH.fullmatch(path)
    names = {"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync"}
    return names.get(match[1], "InvokeEndpointWithResponseStream") if match else path


def _text(value: str) -> str:
    """Escaped text without control characters, which XML can't contain."""
    return escape("".join(each if each >= " " or each in "\n\t" else "?" for each in value))


def _cbor_map(pairs: Mapping[str, str]) -> bytes:
    """A map of short texts as CBOR (RFC 8949)."""
    return bytes([0xA0 | len(pairs)]) + b"".join(_cbor_text(each) for pair in pairs.items() for each in pair)


def _cbor_text(text: str) -> bytes:
    data = text[:10_000].encode("utf-8", errors="replace")
    return b"\x79" + len(data).to_bytes(2, "big") + data
