"""S3's `aws-chunked` bodies: parts with chained signatures, and trailing headers."""

from __future__ import annotations

import hmac
import re

from breedclf.backends.emulator.access.keys import Credentials
from breedclf.backends.emulator.access.signature import Claim, refusal, sha256, signing_key
from breedclf.backends.emulator.protocol import ServiceError

_PART = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?\r\n")
_TRAILING_SIGNATURE = "x-amz-trailer-signature"
_S3 = "s3"


def decoded(
    body: bytes, claim: Claim, credentials: Credentials, payload: str, length: str | None
) -> tuple[bytes, dict[str, str]]:
    """The content and the trailing headers of a streamed body.

    Args:
        body: what was sent.
        claim: the request's claim; its signature is the first of the chain.
        credentials: the credentials of the claim's key.
        payload: the request's x-amz-content-sha256, such as STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER.
        length: the request's x-amz-decoded-content-length.

    Raises:
        ServiceError: a part is cut short or its signature is wrong.
    """
    if payload not in _KINDS:
        raise ServiceError("InvalidRequest", f"x-amz-content-sha256 {payload} isn't supported by S3.", 400)
    is_signed, has_trailer = _KINDS[payload]
    key, before = signing_key(claim, credentials), claim.signature
    content, position = bytearray(), 0
    while True:
        begin = _PART.match(body, position)
        if begin is None:
            raise ServiceError("IncompleteBody", "The request body isn't a sequence of signed parts.", 400)
        size = int(begin[1], 16)
        part = body[begin.end() : begin.end() + size]
        position = begin.end() + size
        if is_signed:
            text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", claim.stamp, claim.scope, before, sha256(b""), sha256(part)))
            before = _checked(key, text, (begin[2] or b"").decode())
        if len(part) < size:
            raise ServiceError("IncompleteBody", "The request body ended within a part.", 400)
        if size == 0:
            break
        if body[position : position + 2] != b"\r\n":
            raise ServiceError("IncompleteBody", "A part is longer than announced.", 400)
        position += 2
        content += part
    trailer = _trailer(body[position:]) if has_trailer else {}
    given = trailer.pop(_TRAILING_SIGNATURE, "")
    if is_signed and has_trailer:
        lines = "".join(f"{name}:{value}\n" for name, value in trailer.items())
        text = "\n".join(("AWS4-HMAC-SHA256-TRAILER", claim.stamp, claim.scope, before, sha256(lines.encode())))
        _checked(key, text, given)
    if length is not None and length != str(len(content)):
        raise ServiceError("IncompleteBody", f"The body has {len(content)} bytes, not the {length} announced.", 400)
    return bytes(content), trailer


_KINDS = {  # whether the parts are signed, and whether headers follow them
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
}


def _checked(key: bytes, text: str, given: str) -> str:
    computed = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(computed.encode(), given.encode()):
        raise refusal("mismatch", _S3)
    return computed


def _trailer(rest: bytes) -> dict[str, str]:
    lines = [line for line in rest.decode("latin-1").replace("\r\n", "\n").split("\n") if line.strip()]
    pairs = [line.partition(":") for line in lines]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
