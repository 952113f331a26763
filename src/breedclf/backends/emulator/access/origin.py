"""Refuses requests of web pages and other machines, before their body is read."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_HOSTS = {"127.0.0.1", "localhost"}


class OriginMiddleware:
    """ASGI middleware that refuses requests of web pages, and those for any host name but this machine's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = origin_refusal(Headers(scope=scope)) if scope["type"] == "http" else "only HTTP is supported"
        if reason is not None:
            await Response(f"breedclf's emulator: {reason}\n", 403)(scope, receive, send)
            return
        await self._app(scope, receive, _without_cors(send))


def origin_refusal(headers: Mapping[str, str]) -> str | None:
    """Why a request is refused, by its headers alone; None if it is accepted.

    The emulator serves no pages, so requests of any page are refused. A presigned URL that a user pastes into the
    address bar has `Sec-Fetch-Site: none` and is accepted.

    Example:
        >>> origin_refusal({"host": "127.0.0.1:8765", "sec-fetch-site": "none"})
        >>> origin_refusal({"host": "127.0.0.1:8765", "origin": "null"})
        "web pages are refused, and this request comes from one ('null')"
    """
    host = headers.get("host", "")
    if not is_local(host):
        return f"only requests to {' or '.join(sorted(_LOCAL_HOSTS))} are accepted, not to {host[:100]!r}"
    origin = headers.get("origin")
    if origin is not None:
        return f"web pages are refused, and this request comes from one ({origin[:100]!r})"
    if headers.get("sec-fetch-site", "none") != "none":
        return "web pages are refused, and this request comes from one (Sec-Fetch-Site)"
    return None


def is_local(host: str) -> bool:
    """Whether a Host header names this machine, with or without a bucket as subdomain."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name in _LOCAL_HOSTS or name.endswith(".localhost")


def _without_cors(send: Send) -> Send:
    """Remove CORS headers, which a bucket's settings may add, so that no page can read a response."""

    async def send_without_cors(message: Message) -> None:
        headers = message.get("headers")
        if message["type"] == "http.response.start" and isinstance(headers, list):
            message["headers"] = [pair for pair in headers if not pair[0].lower().startswith(b"access-control-")]
        await send(message)

    return send_without_cors
