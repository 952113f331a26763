"""Sends an image from a page to an endpoint, and its answer back, errors of the model included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from breedclf.api.deployment import serving_backend
from breedclf.api.explained import explanation_attributes
from breedclf.errors import BreedclfError, ConfigError, EndpointError, ModelError
from breedclf.jobs import is_name
from breedclf.jobs.endpoints import ServingBackend, terms_of
from breedclf.overview.endpoints import about_model
from breedclf.overview.overview import Overview

PREDICTION_SECONDS = 60.0
_SNIFFED = "application/x-image"


async def predicted(overview: Overview, name: str, request: Request) -> Response:
    """The answer of an endpoint to the image in a request, or why there is none, in the form of a model's server."""
    backend = serving_backend(overview.backend)
    limit = terms_of(backend).max_body_bytes
    body = await _body(request, limit)
    if body is None:
        return _problem(
            413, f"the image has more than {limit:,} bytes, the limit of this endpoint: choose a smaller one"
        )
    kind = request.headers.get("content-type") or _SNIFFED
    try:
        attributes = attributes_of(request.query_params)
        answer = await run_in_threadpool(_invoke, backend, name, body, kind, attributes)
    except ModelError as error:
        return _problem(_status_of(error), _message_of(error))
    except ConfigError as error:
        return _problem(400, str(error))
    except EndpointError as error:
        gone = not await run_in_threadpool(_exists, backend, name)
        return _problem(404 if gone else 502, str(error))
    except BreedclfError as error:
        return _problem(502, str(error))
    return Response(answer, media_type="application/json")


async def about(overview: Overview, name: str) -> Response:
    """What the page must know of an endpoint's model to explain its answers."""
    backend = serving_backend(overview.backend)

    def ask() -> dict[str, Any]:
        return about_model(backend, backend.describe_endpoint(name).url).to_dict()

    return JSONResponse(await run_in_threadpool(ask))


def attributes_of(query: Mapping[str, str]) -> str:
    """SageMaker's custom attributes for the parameters of a page.

    Raises:
        ConfigError: the names of classes are too long for a header.

    Example:
        >>> attributes_of({"explain": "1", "class": "Wire Fox", "top": "1"})
        'explain=1,class=Wire%20Fox,top=1'
    """
    parts = []
    if query.get("explain") == "1":
        parts.append(explanation_attributes(query.get("class") or None, query.get("against") or None))
    if query.get("top", "").isdecimal():
        parts.append(f"top={query['top'][:6]}")
    return ",".join(parts)


def _invoke(backend: ServingBackend, name: str, body: bytes, content_type: str, attributes: str) -> bytes:
    return backend.invoke_endpoint(
        name, body, content_type=content_type, timeout_seconds=PREDICTION_SECONDS, attributes=attributes
    )


async def _body(request: Request, limit: int) -> bytes | None:
    """The body of a request; None if it is larger than the limit, after reading at most twice as much."""
    parts, size = list[bytes](), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
            elif size > 2 * limit:
                return None
    except ClientDisconnect:
        return b""
    return b"".join(parts) if size <= limit else None


def _exists(backend: ServingBackend, name: str) -> bool:
    try:
        return is_name(name) and any(each.name == name for each in backend.list_endpoints())
    except BreedclfError:
        return True


def _status_of(error: ModelError) -> int:
    return error.original_status_code if 400 <= error.original_status_code < 600 else 502


def _message_of(error: ModelError) -> str:
    """What the model's server said, without the JSON around it."""
    try:
        return str(json.loads(error.original_message)["error"]["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return str(error)


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"error": {"code": "NotPredicted", "message": message}}, status)
