"""The emulator's HTTP side: one address for SageMaker, its runtime, logs, S3, STS and IAM, and for the switches.

Nothing is done for a request, and no more than its headers is read, before `door` and `signature` have let it in.
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

from breedclf.backends.emulator.access.admission import Admitted, admitted, content_of
from breedclf.backends.emulator.access.door import Door
from breedclf.backends.emulator.access.signature import SignedRequest
from breedclf.backends.emulator.control_plane import Plane
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


def create_app(plane: Plane, objects: Objects) -> Starlette:
    """The application around a plane; requests of S3 are handed to `objects`."""

    async def aws(request: Request) -> Response:
        asked = _signed_request(request)
        call = call_of(request.headers, request.url.path, asked.query)
        try:
            entry = admitted(call, asked, plane.keys, datetime.now(UTC))
            body = await _body(request, None if call.service == "s3" else _MAX_BODY_BYTES)
        except ServiceError as error:
            return _response(error_answer(error, call.protocol))

        def work() -> Response:
            content, headers = content_of(entry, body)
            if call.service == "s3":
                return _s3(plane, objects, request, entry, content, headers)
            if call.service == SWITCHES:
                return _switch(plane, request, content)
            return _answered(plane, with_action(call, asked.query, content), request, content)

        return await _carefully(call.protocol, work)

    return Starlette(routes=[Route("/{path:path}", aws, methods=_METHODS)], middleware=[Middleware(Door)])


def _signed_request(request: Request) -> SignedRequest:
    headers = [(name.decode("latin-1"), _decoded(value)) for name, value in request.scope["headers"]]
    query = request.scope["query_string"].decode("latin-1")
    return SignedRequest(request.method, request.scope["raw_path"].decode("latin-1"), query, headers)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _body(request: Request, most: int | None) -> bytes:
    found = bytearray()
    async for part in request.stream():
        found += part
        if most is not None and len(found) > most:
            raise ServiceError("RequestEntityTooLarge", f"The body is larger than the {most} bytes allowed.", 413)
    return bytes(found)


async def _carefully(protocol: str, work: Callable[[], Response]) -> Response:
    """The answer of some work in a thread, whatever happens in it."""
    try:
        return await run_in_threadpool(work)
    except ServiceError as error:
        return _response(error_answer(error, protocol))
    except DroppedCall:
        return _Lost()
    except BreedclfError as error:
        return _response(error_answer(ServiceError("ValidationException", str(error)), protocol))
    except Exception as error:
        log.exception("a call failed")
        message = f"the emulator failed: {type(error).__name__}: {error}"
        return _response(error_answer(ServiceError("InternalFailure", message, 500), protocol))


def _answered(plane: Plane, call: Call, request: Request, body: bytes) -> Response:
    if call.service == "runtime":
        plane.faults.meet(call.service, call.operation, "".join(request.url.path.split("/")[2:3]))
        return _response(plane.invoke(call, request.url.path, request.headers, body))
    if call.service == "scheduler":
        plane.faults.meet(call.service, f"{request.method} {request.url.path}")
        answer = plane.schedules.answer(request.method, request.url.path, _json(body), call.region)
        return _response(json_answer(answer))
    parameters = _json(body) if call.protocol == "json" else {}
    plane.faults.meet(call.service, call.operation, _name_in(parameters))
    return _response(plane.answer(call, body, parameters))


def _s3(
    plane: Plane, objects: Objects, request: Request, entry: Admitted, body: bytes, headers: list[tuple[str, str]]
) -> Response:
    plane.faults.meet("s3", _s3_operation(request), request.url.path)
    asked = entry.request
    answer = objects.answer(S3Request(asked.method, asked.path, asked.query, headers, body))
    response = StreamingResponse(answer.body, status_code=answer.status)
    response.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    return response


def _s3_operation(request: Request) -> str:
    """The S3 operation of a request, as far as switches and counts tell them apart."""
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


def _switch(plane: Plane, request: Request, body: bytes) -> Response:
    what, method = request.url.path.removeprefix("/_emulator/"), request.method
    if method == "POST" and request.headers.get("content-type") != "application/json":
        _refuse("send the switch as application/json")
    if what == "calls" and method == "GET":
        return Response(json.dumps(plane.faults.calls()), media_type="application/json")
    if what == "faults" and method == "POST":
        plane.faults.add(fault_of(_json(body)))
    elif what == "faults" and method == "DELETE":
        plane.faults.clear()
    elif what == "lags" and method == "POST":
        plane.faults.lags = Lags(**_json(body))
    elif what == "interruptions" and method == "POST":
        name = _json(body).get("TrainingJobName")
        if not isinstance(name, str):
            _refuse('an interruption needs {"TrainingJobName": "..."}')
        plane.local.interrupt(name)
    else:
        _refuse(f"there is no switch {method} /_emulator/{what}")
    return Response("{}", media_type="application/json")


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}", parse_constant=_no_constant)
    except RecursionError as error:
        raise ServiceError("SerializationException", "the body is nested too deeply") from error
    except ValueError as error:
        raise ServiceError("SerializationException", f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "the body must be a JSON object")
    return document


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)


def _name_in(parameters: Mapping[str, Any]) -> str | None:
    """The name of the thing that a request is about: the first parameter that ends in Name."""
    return next((value for key, value in parameters.items() if key.endswith("Name") and isinstance(value, str)), None)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {**answer.headers, "x-amzn-RequestId": new_request_id()})


class _Lost(Response):
    """Begins an answer and leaves it there, upon which the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
