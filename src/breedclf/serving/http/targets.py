"""Where a request goes and where it ends, as HTTP's grammar has it; pure functions over what the parser hands on."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import Scope

from breedclf.serving.core import RequestError

FRAMING = "BadFraming"
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?$", re.IGNORECASE)


def in_origin_form(scope: Scope) -> Scope:
    """The same request for one whose target is a whole URL, as proxies send it: its host takes the Host header's place.

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
    """Refuse a body whose end two servers could see in different places; the connection has to end with it.

    Source: RFC 9112, sections 6.1 and 6.3.

    Raises:
        RequestError: 400 for Content-Length beside Transfer-Encoding, and for Transfer-Encoding in HTTP/1.0.
    """
    if "transfer-encoding" not in headers:
        return
    if "content-length" in headers:
        raise RequestError(400, FRAMING, "the request has Content-Length and Transfer-Encoding; send one of them")
    if http_version == "1.0":
        raise RequestError(400, FRAMING, "the request has Transfer-Encoding in HTTP/1.0; send Content-Length")
