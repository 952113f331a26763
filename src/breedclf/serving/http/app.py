"""The ASGI application: routes, access control, request ids, one log line per request, errors as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breedclf.inference.prediction import Prediction
from breedclf.jobs.endpoints import DEFAULT_ENGINE, EngineChoice
from breedclf.serving.core import (
    ATTRIBUTES_HEADER,
    JSON,
    BusyError,
    Limits,
    RequestError,
    accepted_types,
    answer,
    check_encoding,
    error_body,
    images_in,
    media_type,
    requested_count,
    service_error_body,
    too_large,
)
from breedclf.serving.explaining import ExplanationRequest, only_image, requested_explanation
from breedclf.serving.http.access import LOCAL_NAMES, host_is_allowed, token_is_valid
from breedclf.serving.http.bodies import Arrivals, read_body
from breedclf.serving.http.targets import FRAMING, check_framing, in_origin_form
from breedclf.serving.http.web_page import PAGE_TYPES, about_model, page_response
from breedclf.serving.requests import Bounds, Pipeline

log: logging.Logger = logging.getLogger("breedclf.serving.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CODES = {404: "NotFound", 405: "MethodNotAllowed"}


@dataclass
class Service:
    """State of the application: the pipeline once the model is loaded, limits, and access control."""

    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
    token: str | None = None
    hosts: Collection[str] = LOCAL_NAMES
    origins: Collection[str] = ()
    engine: EngineChoice = DEFAULT_ENGINE
    pipeline: Pipeline | None = None
    draining: bool = False
    on_prediction: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.arrivals: Arrivals = Arrivals(self.limits, self.bounds)

    def ready_pipeline(self) -> Pipeline:
        """The pipeline of the loaded model.

        Raises:
            BusyError: the model is still being loaded.
        """
        if self.pipeline is None:
            raise BusyError("Loading", "the model is still being loaded; try again in a moment", 1)
        return self.pipeline


def create_app(service: Service) -> ASGIApp:
    """Create the application of a service; it can be used before the model is loaded."""

    async def ping(request: Request) -> Response:
        del request
        healthy = service.pipeline is not None and not service.draining and await service.pipeline.responds()
        return Response(status_code=200 if healthy else 503)

    async def invocations(request: Request) -> Response:
        return await _predict(service, request)

    async def page(request: Request) -> Response:
        name = request.url.path.removeprefix("/") or "index.html"
        return page_response(name)

    async def about(request: Request) -> Response:
        del request
        return Response(_about(service), media_type="application/json", headers={"Cache-Control": "no-cache"})

    app = Starlette(
        routes=[
            Route("/ping", ping, methods=["GET"]),
            Route("/invocations", invocations, methods=["POST"]),
            Route("/endpoints/{name}/invocations", invocations, methods=["POST"]),
            Route("/about", about, methods=["GET"]),
            Route("/", page, methods=["GET"]),
            *(Route(f"/{name}", page, methods=["GET"]) for name in PAGE_TYPES),
        ],
        middleware=[*_cors(service.origins), Middleware(ErrorMiddleware, service=service)],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


def _cors(origins: Collection[str]) -> list[Middleware]:
    """Middleware that allows cross-origin requests from these origins, or from all with `*`."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-Request-Id", ATTRIBUTES_HEADER),
            expose_headers=("Retry-After", "X-Request-Id"),
        )
    ]


async def _no_route(request: Request, error: Exception) -> Response:
    """Turn starlette's errors of routing into a `RequestError`, which `ErrorMiddleware` sends as JSON."""
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "BadRequest")
    message = f"{request.method} isn't supported at this path; POST an image to /invocations, or open / in a browser"
    raise RequestError(error.status_code, code, message)


async def _predict(service: Service, request: Request) -> Response:
    pipeline = service.ready_pipeline()
    headers = request.headers
    pipeline.admission.require_capacity()
    accepted = accepted_types(headers.get("accept"))
    parameters = request.url.query, headers.get(ATTRIBUTES_HEADER)
    top, wanted = requested_count(*parameters), requested_explanation(*parameters)
    check_encoding(headers.get("content-encoding"))
    if (_length(headers) or 0) > service.limits.max_body_bytes:
        raise too_large(service.limits)
    body = await service.arrivals.body(request.receive)
    kind, held = media_type(headers.get("content-type")), 0
    try:
        pipeline.admission.admit(1)
        held = 1
        images = await pipeline.parsed(body, kind) if kind == JSON else images_in(body, kind, service.limits)
        del body
        if len(images) > 1:
            pipeline.admission.admit(len(images) - 1, held=1)
            held = len(images)
        request.state.images = held
        predictions, explanation = await _answers(pipeline, images, wanted)
    finally:
        pipeline.admission.release(held)
    service.on_prediction()
    content, content_type = answer(predictions, accepted, top, explanation)
    return Response(content, media_type=content_type)


async def _answers(
    pipeline: Pipeline, images: list[bytes], wanted: ExplanationRequest | None
) -> tuple[list[Prediction], dict[str, Any] | None]:
    if wanted is None:
        return await pipeline.predict(images), None
    prediction, explanation = await pipeline.explain(only_image(images), wanted)
    return [prediction], explanation


def _about(service: Service) -> str:
    card = service.pipeline.engine.card if service.pipeline else None
    return json.dumps(
        {
            "ready": card is not None,
            "classes": len(card.class_names) if card else 0,
            "max_body_bytes": service.limits.max_body_bytes,
            "token_required": service.token is not None,
            "explains": service.pipeline is not None and service.pipeline.engine.has_maps,
            **(about_model(card) if card else {}),
        }
    )


class ErrorMiddleware:
    """Assigns request ids, checks access, sends exceptions as JSON errors, and writes a log line per request.

    Exceptions are handled here rather than in `exception_handlers=`, since the response depends on the request's log
    entry (its id, the unread body), and starlette raises unexpected exceptions again after handling them.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = in_origin_form(scope)
        entry = RequestLog(scope, receive, send, self._service)
        try:
            self._check(scope, entry.headers)
            await self._app(scope, entry.receive, entry.send)
        except RequestError as error:
            await self._send_error(entry, error)
        except Exception:
            log.exception("a request failed", extra={"fields": {"request_id": entry.id}})
            await self._send_error(entry, RequestError(500, "InternalError", "internal error; see the server's log"))
        finally:
            entry.write_log()

    def _check(self, scope: Scope, headers: Headers) -> None:
        check_framing(headers, scope["http_version"])
        if not host_is_allowed(headers.get("host"), self._service.hosts):
            raise RequestError(421, "MisdirectedRequest", _unknown_host(headers.get("host"), self._service.hosts))
        token = self._service.token
        is_public = scope["method"] == "GET" and not scope["path"].startswith("/endpoints/")
        if token is not None and not is_public and not token_is_valid(headers.get("authorization"), token):
            raise RequestError(401, "Unauthorized", "send the header Authorization: Bearer TOKEN with a valid token")

    async def _send_error(self, entry: RequestLog, error: RequestError) -> None:
        if entry.status is not None:  # the response has already started
            return
        if error.status != 408 and error.code != FRAMING:
            await entry.discard_body()
        for_service_client = entry.path.startswith("/endpoints/") and _is_aws_client(entry.headers)
        body = service_error_body(error, entry.id) if for_service_client else error_body(error, entry.id)
        response = Response(body, 424 if for_service_client else error.status, media_type="application/json")
        if for_service_client:
            response.headers["x-amzn-errortype"] = "ModelError"
        if isinstance(error, BusyError):
            response.headers["Retry-After"] = str(error.retry_after)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        entry.code = error.code
        await response(entry.scope, entry.receive, entry.send)


class RequestLog:
    """The log entry of one request: wraps `receive` and `send` to record bytes and status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        scope.setdefault("state", {})
        self.scope = scope
        self.headers = Headers(scope=scope)
        self.path: str = str(scope["path"])
        received = self.headers.get("x-request-id", "")
        self.id: str = received if _REQUEST_ID.fullmatch(received) else secrets.token_hex(8)
        self.status: int | None = None
        self.code: str | None = None
        self._receive = receive
        self._send = send
        self._service = service
        self._more = "transfer-encoding" in self.headers or _length(self.headers) != 0
        self._bytes = 0
        self._started = time.monotonic()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.id.encode()), (b"x-amzn-requestid", self.id.encode())]
            extra += [(b"x-content-type-options", b"nosniff")]
            if self._service.draining or self._more:
                extra.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *extra]}
        await self._send(message)

    async def discard_body(self) -> None:
        """Read the rest of the body: a client that is still sending may not receive the response otherwise."""
        if not self._more:
            return
        if self.headers.get("expect", "").lower() == "100-continue" and self._bytes == 0:
            return  # the client waits for a response before it sends
        with suppress(RequestError, TimeoutError):
            async with asyncio.timeout(self._service.bounds.body_seconds):
                await read_body(self.receive, Limits(max_body_bytes=0), self._service.bounds)

    def write_log(self) -> None:
        fields = {
            "request_id": self.id,
            "method": self.scope["method"],
            "path": self.path[:200],
            "status": self.status,
            "code": self.code,
            "pictures": self.scope["state"].get("images"),
            "bytes": self._bytes,
            "milliseconds": round(1000 * (time.monotonic() - self._started), 1),
        }
        level = logging.DEBUG if self.path == "/ping" and self.status == 200 else logging.INFO
        log.log(level, "request", extra={"fields": {k: v for k, v in fields.items() if v is not None}})


def _is_aws_client(headers: Headers) -> bool:
    return "amz-sdk-invocation-id" in headers or headers.get("authorization", "").startswith("AWS4-")


def _unknown_host(header: str | None, hosts: Collection[str]) -> str:
    names = ", ".join(sorted(hosts))
    if not header:
        return f"the request has no Host header; this server's names are {names}"
    host = ascii(header[:60])
    return f"Host {host} is not a name of this server; use {names[:120]}, or start the server with --allow-host NAME"


def _length(headers: Headers) -> int | None:
    """The value of Content-Length: 0 if absent, None if invalid."""
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
