"""A Ray Serve replica: breedclf's ASGI application behind Ray's proxy instead of uvicorn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from breedclf.runtime.machine import available_cores
from breedclf.runtime.telemetry import opt_out
from breedclf.serving.http.access import ANY_HOST
from breedclf.serving.http.app import Service, create_app
from breedclf.serving.logs import log_as_json
from breedclf.serving.server import load_pipeline

INVOCATIONS = "/invocations"


def deployment_options() -> dict[str, Any]:
    """Options of `serve.deployment`: a GPU if the cluster has one; the application itself limits requests."""
    opt_out()
    import ray

    gpus = ray.cluster_resources().get("GPU", 0) if ray.is_initialized() else 0
    return {"max_ongoing_requests": 256, "ray_actor_options": {"num_gpus": 1 if gpus >= 1 else 0}}


class Replica:
    """Serves a model directory like `breedclf serve`; a POST to `/` is handled as one to `/invocations`.

    Access control is up to the proxy in front: any Host header is accepted.
    """

    def __init__(self, model: str) -> None:
        log_as_json()
        torch.set_num_threads(available_cores())  # Ray limits libraries to one thread
        service = Service(hosts=frozenset({ANY_HOST}))
        with ThreadPoolExecutor(1) as pool:  # a thread of its own, so that torch's threads end with it
            self._pipeline = pool.submit(load_pipeline, Path(model), service).result()
        service.pipeline = self._pipeline
        self._app = create_app(service)

    async def __call__(self, request: Request) -> Response:
        return await complete_response(self._app, request)

    async def check_health(self) -> None:
        """Check the model; Ray calls this periodically, and replaces replicas that fail it.

        Raises:
            RuntimeError: the model doesn't respond.
        """
        if not await self._pipeline.responds():
            raise RuntimeError("the model doesn't respond")


async def complete_response(app: ASGIApp, request: Request) -> Response:
    """Run the application on a request and collect its complete response."""
    at_root = request.method == "POST" and request.scope["path"] in ("", "/")
    path = INVOCATIONS if at_root else request.scope["path"]
    scope = {**request.scope, "path": path, "raw_path": path.encode(), "root_path": "", "state": {}}
    response = Response()
    parts: list[bytes] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.status_code = message["status"]
            response.raw_headers = list(message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(scope, request.receive, send)
    response.body = b"".join(parts)
    return response
