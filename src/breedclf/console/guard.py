"""Who may talk to the console: this machine's browser with the token, under a local name, from its own pages alone."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, QueryParams
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breedclf.serving.http.access import LOCAL_NAMES, host_is_allowed, token_is_valid

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_NO_TOKEN = (
    "This console needs the token that `breedclf console` printed when it was started: open the address it printed."
)


@dataclass(frozen=True)
class Refusal:
    """Why a request isn't answered."""

    status: int
    reason: str


def cookie_name(port: int) -> str:
    """Cookies are shared by all ports of a host, so each console has one of its own."""
    return f"breedclf-console-{port}"


def refusal(method: str, headers: Headers, query: QueryParams, *, token: str, port: int) -> Refusal | None:
    """Why a request is refused; None if it may be answered.

    The Host header stops DNS rebinding, Origin and Sec-Fetch-Site stop other sites' pages, and the token stops other
    users of this machine.
    """
    if not host_is_allowed(headers.get("host"), LOCAL_NAMES):
        return Refusal(421, f"unknown host {headers.get('host')!r}: open the console under 127.0.0.1 or localhost")
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{headers.get('host')}":
        return Refusal(403, f"requests from pages of {origin!r} aren't answered")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_navigation(method, headers):
        return Refusal(403, "requests from pages of other sites aren't answered")
    if not has_token(headers, query, token=token, port=port):
        return Refusal(401, _NO_TOKEN)
    if method not in ("GET", "HEAD") and not (origin or token_is_valid(headers.get("authorization"), token)):
        return Refusal(
            403, "actions are done for the console's own pages, or with the header Authorization: Bearer TOKEN"
        )
    return None


def has_token(headers: Headers, query: QueryParams, *, token: str, port: int) -> bool:
    """Whether the token came as a cookie, as a bearer token, or in the address."""
    given = query.get("token")
    if given is not None:
        return hmac.compare_digest(given.encode(), token.encode())
    if "authorization" in headers:
        return token_is_valid(headers["authorization"], token)
    cookie = _cookies(headers).get(cookie_name(port))
    return cookie is not None and hmac.compare_digest(cookie.encode(), token.encode())


def _is_navigation(method: str, headers: Headers) -> bool:
    return (
        method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


class Guard:
    """Middleware: refuses what may not be answered, and exchanges the token in a page's address for a cookie."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in SECURITY_HEADERS.items() if k.encode() not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        headers, query = Headers(scope=scope), QueryParams(scope["query_string"])
        refused = refusal(scope["method"], headers, query, token=self._token, port=self._port)
        if refused is not None:
            await self._refuse(scope, refused)(scope, receive, send_guarded)
        elif "token" in query and not scope["path"].startswith(("/api/", "/events")):
            await self._with_cookie(scope, headers, query)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _refuse(self, scope: Scope, refused: Refusal) -> Response:
        if scope["path"].startswith("/api/"):
            return JSONResponse({"error": refused.reason}, refused.status)
        return PlainTextResponse(refused.reason + "\n", refused.status)

    def _with_cookie(self, scope: Scope, headers: Headers, query: QueryParams) -> Response:
        """The same page without the token in its address, where history, logs and bookmarks would keep it.

        A browser that comes from elsewhere, as from a file, sends strict cookies only to where our own page leads it.
        """
        rest = urlencode([(name, value) for name, value in query.multi_items() if name != "token"])
        path = quote("/" + scope["path"].lstrip("/"))  # `//host` would lead to another one
        address = path + (f"?{rest}" if rest else "")
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            response: Response = RedirectResponse(address, 303)
        else:
            leading = f'<meta http-equiv="refresh" content="0; url={escape(address)}">'
            icon = '<link rel="icon" href="data:,">'
            response = HTMLResponse(f"<!doctype html>{leading}{icon}<title>breedclf</title>")
        response.set_cookie(cookie_name(self._port), self._token, httponly=True, samesite="strict", path="/")
        return response
