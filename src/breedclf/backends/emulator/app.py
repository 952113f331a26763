"""The emulator's HTTP side: one address for SageMaker, its runtime, logs, S3, STS and IAM, and for the switches."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import urllib3
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from breedclf.backends.emulator.faults import DroppedCall, fault_of
from breedclf.backends.emulator.lags import Lags
from breedclf.backends.emulator.plane import Plane
from breedclf.backends.emulator.protocol import (
    Answer,
    Call,
    ServiceError,
    call_of,
    error_answer,
    new_request_id,
)
from breedclf.errors import BreedclfError

log = logging.getLogger(__name__)

_LOCAL_HOSTS = {"127.0.0.1", "localhost"}
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "date", "server"}
_S3_SECONDS = urllib3.Timeout(connect=10, read=300)
_PART_BYTES = 256 << 10


def create_app(plane: Plane, s3_endpoint: str) -> Starlette:
    """The application around a plane; requests of S3 are passed on to `s3_endpoint`."""
    pool = urllib3.PoolManager(maxsize=64, retries=False)

    async def aws(request: Request) -> Response:
        body = await request.body()
        if not _allowed_host(request.headers.get("host", "")):
            return Response("the emulator answers this machine alone", 403)
        call = call_of(request.headers, request.url.path, request.url.query, body)
        if call.service == "s3":
            work: Callable[[], Response] = lambda: _s3(plane, pool, s3_endpoint, request, body)  # noqa: E731
        else:
            work = lambda: _answered(plane, call, request, body)  # noqa: E731
        return await _carefully(call.service, work)

    async def switches(request: Request) -> Response:
        body = await request.body()
        if not _allowed_host(request.headers.get("host", "")):
            return Response("the emulator answers this machine alone", 403)
        return await _carefully("sagemaker", lambda: _switch(plane, request, body))

    routes = [
        Route("/_emulator/{what}", switches, methods=["GET", "POST", "DELETE"]),
        Route("/{path:path}", aws, methods=_METHODS),
    ]
    return Starlette(routes=routes)


async def _carefully(service: str, work: Callable[[], Response]) -> Response:
    """The answer of some work in a thread, whatever happens in it."""
    try:
        return await run_in_threadpool(work)
    except ServiceError as error:
        return _response(error_answer(error, service))
    except DroppedCall:
        return _Lost()
    except BreedclfError as error:
        return _response(error_answer(ServiceError("ValidationException", str(error)), service))
    except Exception as error:
        log.exception("a call failed")
        message = f"the emulator failed: {type(error).__name__}: {error}"
        return _response(error_answer(ServiceError("InternalFailure", message, 500), service))


def _answered(plane: Plane, call: Call, request: Request, body: bytes) -> Response:
    if call.service == "runtime":
        plane.faults.meet(call.service, call.operation, request.url.path.split("/")[2:3][0])
        return _response(plane.invoke(call, request.url.path, request.headers, body))
    parameters = _json(body) if call.service not in ("sts", "iam") else {}
    plane.faults.meet(call.service, call.operation, _name_in(parameters))
    return _response(plane.answer(call, body, parameters))


def _s3(plane: Plane, pool: urllib3.PoolManager, endpoint: str, request: Request, body: bytes) -> Response:
    plane.faults.meet("s3", _s3_operation(request), request.url.path)
    headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP | {"expect"}}
    target = endpoint.rstrip("/") + request.scope["raw_path"].decode("ascii")
    target += f"?{request.url.query}" if request.url.query else ""
    answer = pool.request(
        request.method,
        target,
        body=body or None,
        headers=headers,
        redirect=False,
        preload_content=False,
        decode_content=False,
        timeout=_S3_SECONDS,
    )
    passed = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
    response = StreamingResponse(_parts(answer), status_code=answer.status)
    response.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in passed.items()]
    return response


def _parts(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(_PART_BYTES, decode_content=False)
    finally:
        answer.release_conn()


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
    what, method = request.path_params["what"], request.method
    if method == "POST" and request.headers.get("content-type") != "application/json":
        raise ServiceError("ValidationException", "send the switch as application/json")
    if what == "calls" and method == "GET":
        return Response(json.dumps(plane.faults.calls()), media_type="application/json")
    if what == "faults" and method == "POST":
        plane.faults.add(fault_of(_json(body)))
    elif what == "faults" and method == "DELETE":
        plane.faults.clear()
    elif what == "lags" and method == "POST":
        plane.faults.lags = Lags(**_json(body))
    elif what == "interruptions" and method == "POST":
        plane.local.interrupt(_json(body)["TrainingJobName"])
    else:
        raise ServiceError("ValidationException", f"there is no switch {method} /_emulator/{what}")
    return Response("{}", media_type="application/json")


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "the body must be a JSON object")
    return document


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


def _allowed_host(host: str) -> bool:
    """Whether a request's Host header names this machine, alone or behind a bucket's name."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name in _LOCAL_HOSTS or name.endswith(".localhost")
