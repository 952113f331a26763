"""The one door of the emulator: who isn't its user's own program is turned away before anything is read."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_HOSTS = {"127.0.0.1", "localhost"}


class Door:
    """Refuses what a web page sends, and whatever calls the emulator by a name that isn't this machine's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        why = refusal_of(Headers(scope=scope)) if scope["type"] == "http" else "only HTTP is spoken here"
        if why is not None:
            await Response(f"breedclf's emulator: {why}\n", 403)(scope, receive, send)
            return
        await self._app(scope, receive, _without_cors(send))


def refusal_of(headers: Mapping[str, str]) -> str | None:
    """Why a request isn't taken, by its headers alone; None if it may go on.

    No page has business here, whatever its origin: the emulator shows none itself. A link that its user typed or
    pasted into the address bar (a presigned one) comes with `Sec-Fetch-Site: none`.

    Example:
        >>> refusal_of({"host": "127.0.0.1:8765", "sec-fetch-site": "none"})
        >>> refusal_of({"host": "127.0.0.1:8765", "origin": "null"})
        "it answers no web page, and this request comes from one ('null')"
    """
    host = headers.get("host", "")
    if not is_local(host):
        return f"it answers this machine alone, by the names {', '.join(sorted(_LOCAL_HOSTS))}, not {host[:100]!r}"
    origin = headers.get("origin")
    if origin is not None:
        return f"it answers no web page, and this request comes from one ({origin[:100]!r})"
    if headers.get("sec-fetch-site", "none") != "none":
        return "it answers no web page, and this request comes from one (Sec-Fetch-Site)"
    return None


def is_local(host: str) -> bool:
    """Whether a Host header names this machine, alone or behind a bucket's name."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name in _LOCAL_HOSTS or name.endswith(".localhost")


def _without_cors(send: Send) -> Send:
    """No header leaves that would let a page read an answer, whatever a bucket's settings say."""

    async def sent(message: Message) -> None:
        headers = message.get("headers")
        if message["type"] == "http.response.start" and isinstance(headers, list):
            message["headers"] = [pair for pair in headers if not pair[0].lower().startswith(b"access-control-")]
        await send(message)

    return sent
