"""The emulator's HTTP application: one URL for SageMaker, its runtime, logs, S3, STS and IAM, and for the switches.

Only the headers of a request are read before its origin and its signature have been verified.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from breedclf.backends.emulator.access.admission import Admitted, admit, content_of
from breedclf.backends.emulator.access.origin import OriginMiddleware
from breedclf.backends.emulator.access.signature import SignedRequest
from breedclf.backends.emulator.control_plane import ControlPlane
from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.faults import DroppedCall, fault_of
from breedclf.backends.emulator.protocol import (
    SWITCHES,
    Answer,
    Call,
    ServiceError,
    call_of,
    error_answer,
    json_answer,
    new_request_id,
    with_action,
)
from breedclf.backends.emulator.s3.objects import Objects, S3Request
from breedclf.errors import BreedclfError

log: logging.Logger = logging.getLogger(__name__)

_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
_MAX_BODY_BYTES = 26 << 20  # of all services but S3; an endpoint takes 25 MiB


def create_app(plane: ControlPlane, objects: Objects) -> Starlette:
    """The application of a control plane; S3 requests go to `objects`."""

    async def aws(request: Request) -> Response:
        signed = _signed_request(request)
        call = call_of(request.headers, request.url.path, signed.query)
        try:
            entry = admit(call, signed, plane.keys, datetime.now(UTC))
            body = await _body(request, None if call.service == "s3" else _MAX_BODY_BYTES)
        except ServiceError as error:
            return _response(error_answer(error, call.protocol))

        def work() -> Response:
            content, headers = content_of(entry, body)
            if call.service == "s3":
                return _s3(plane, objects, request, entry, content, headers)
            if call.service == SWITCHES:
                return _switch(plane, request, content)
            return _dispatch(plane, with_action(call, signed.query, content), request, content)

        return await _run_safely(call.protocol, work)

    return Starlette(routes=[Route("/{path:path}", aws, methods=_METHODS)], middleware=[Middleware(OriginMiddleware)])


def _signed_request(request: Request) -> SignedRequest:
    headers = [(name.decode("latin-1"), _decoded(value)) for name, value in request.scope["headers"]]
    query = request.scope["query_string"].decode("latin-1")
    return SignedRequest(request.method, request.scope["raw_path"].decode("latin-1"), query, headers)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _body(request: Request, max_bytes: int | None) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if max_bytes is not None and len(body) > max_bytes:
            raise ServiceError("RequestEntityTooLarge", f"The body is larger than the {max_bytes} bytes allowed.", 413)
    return bytes(body)


async def _run_safely(protocol: str, work: Callable[[], Response]) -> Response:
    """Run `work` in a thread; every exception becomes an error response of the protocol."""
    try:
        return await run_in_threadpool(work)
    except ServiceError as error:
        return _response(error_answer(error, protocol))
    except DroppedCall:
        return _DroppedResponse()
    except BreedclfError as error:
        return _response(error_answer(ServiceError("ValidationException", str(error)), protocol))
    except Exception as error:
        log.exception("a call failed")
        message = f"the emulator failed: {type(error).__name__}: {error}"
        return _response(error_answer(ServiceError("InternalFailure", message, 500), protocol))


def _dispatch(plane: ControlPlane, call: Call, request: Request, body: bytes) -> Response:
    if call.service == "runtime":
        plane.faults.apply(call.service, call.operation, "".join(request.url.path.split("/")[2:3]))
        return _response(plane.invoke(call, request.url.path, request.headers, body))
    if call.service == "scheduler":
        plane.faults.apply(call.service, f"{request.method} {request.url.path}")
        answer = plane.schedules.answer(request.method, request.url.path, _json(body), call.region)
        return _response(json_answer(answer))
    parameters = _json(body) if call.protocol == "json" else {}
    plane.faults.apply(call.service, call.operation, _name_in(parameters))
    return _response(plane.answer(call, body, parameters))


def _s3(
    plane: ControlPlane,
    objects: Objects,
    request: Request,
    entry: Admitted,
    body: bytes,
    headers: list[tuple[str, str]],
) -> Response:
    plane.faults.apply("s3", _s3_operation(request), request.url.path)
    signed = entry.request
    answer = objects.answer(S3Request(signed.method, signed.path, signed.query, headers, body))
    response = StreamingResponse(answer.body, status_code=answer.status)
    response.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    return response


def _s3_operation(request: Request) -> str:
    """The S3 operation of a request, as switches and call records name it."""
    has_key = "/" in request.url.path.strip("/")
    query = request.query_params
    if not has_key:
        names = {"GET": "ListObjectsV2" if "list-type" in query else "GetBucket", "HEAD": "HeadBucket"}
        names |= {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "POST": "DeleteObjects"}
        return "ListBuckets" if request.url.path == "/" else names[request.method]
    if "uploads" in query or "uploadId" in query:
        names = {"POST": "CompleteMultipartUpload" if "uploadId" in query else "CreateMultipartUpload"}
        names |= {"PUT": "UploadPart", "DELETE": "AbortMultipartUpload"}
        return names.get(request.method, "ListParts")
    names = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
    return names.get(request.method, request.method)


def _switch(plane: ControlPlane, request: Request, body: bytes) -> Response:
    switch, method = request.url.path.removeprefix("/_emulator/"), request.method
    if method == "POST" and request.headers.get("content-type") != "application/json":
        _refuse("send the switch as application/json")
    if switch == "calls" and method == "GET":
        return Response(json.dumps(plane.faults.calls()), media_type="application/json")
    if switch == "faults" and method == "POST":
        plane.faults.add(fault_of(_json(body)))
    elif switch == "faults" and method == "DELETE":
        plane.faults.clear()
    elif switch == "lags" and method == "POST":
        plane.faults.lags = Lags(**_json(body))
    elif switch == "interruptions" and method == "POST":
        name = _json(body).get("TrainingJobName")
        if not isinstance(name, str):
            _refuse('an interruption needs {"TrainingJobName": "..."}')
        plane.local.interrupt(name)
    else:
        _refuse(f"there is no switch {method} /_emulator/{switch}")
    return Response("{}", media_type="application/json")


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}", parse_constant=_no_constant)
    except RecursionError as error:
        raise ServiceError("SerializationException", "the body is nested too deeply") from error
    except ValueError as error:
        raise ServiceError("SerializationException", f"the body isn't JSON: {error}") from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "the body must be a JSON object")
    return document


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} isn't a JSON number")


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)


def _name_in(parameters: Mapping[str, Any]) -> str | None:
    """The name of a request's resource: the first parameter that ends in Name."""
    return next((value for key, value in parameters.items() if key.endswith("Name") and isinstance(value, str)), None)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {**answer.headers, "x-amzn-RequestId": new_request_id()})


class _DroppedResponse(Response):
    """Starts a response without finishing it, so the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
