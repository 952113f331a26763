"""Request targets and message framing by the HTTP grammar; pure functions."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import Scope

from breedclf.serving.core import RequestError

FRAMING = "BadFraming"
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?$", re.IGNORECASE)


def in_origin_form(scope: Scope) -> Scope:
    """Convert an absolute request target, as sent to proxies, to origin form; its host replaces the Host header.

    Source: RFC 9112, section 3.2.2.

    Example:
        >>> scope = {"raw_path": b"http://a:1/ping", "path": "http://a:1/ping", "headers": [(b"host", b"b")]}
        >>> found = in_origin_form(scope)
        >>> found["path"], found["headers"]
        ('/ping', [(b'host', b'a:1')])
    """
    match = _ABSOLUTE.match(scope.get("raw_path") or b"")
    if match is None:
        return scope
    raw_path = match[2] or b"/"
    headers = [(b"host", match[1].lower()), *((name, value) for name, value in scope["headers"] if name != b"host")]
    return {**scope, "raw_path": raw_path, "path": unquote(raw_path.decode("ascii")), "headers": headers}


def check_framing(headers: Headers, http_version: str) -> None:
    """Refuse ambiguous framing, against request smuggling; the connection must be closed afterwards.

    Source: RFC 9112, sections 6.1 and 6.3.

    Raises:
        RequestError: 400 for Content-Length together with Transfer-Encoding, and for Transfer-Encoding in HTTP/1.0.
    """
    if "transfer-encoding" not in headers:
        return
    if "content-length" in headers:
        raise RequestError(
            400, FRAMING, "the request has both Content-Length and Transfer-Encoding; send only one of them"
        )
    if http_version == "1.0":
        raise RequestError(400, FRAMING, "the request has Transfer-Encoding in HTTP/1.0; send Content-Length")
