"""Who is let in: a request's signature, first by its headers, then over its body."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime

from breedclf.backends.emulator.access import chunked
from breedclf.backends.emulator.access.keys import Credentials, KeyRing
from breedclf.backends.emulator.access.signature import (
    STREAMING,
    UNSIGNED,
    Claim,
    SignedRequest,
    check_claim,
    check_signature,
    claim_of,
    refusal,
    sha256,
)
from breedclf.backends.emulator.protocol import Call, ServiceError, signed_service

_HASH_HEADER = "x-amz-content-sha256"
_HASH = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Admitted:
    """A request that is let in, as far as its headers tell; `payload` is S3's word for the body, checked already."""

    call: Call
    request: SignedRequest
    claim: Claim
    credentials: Credentials
    payload: str | None = None


def admitted(call: Call, request: SignedRequest, keys: KeyRing, now: datetime) -> Admitted:
    """Check everything that can be checked before the body is read; of S3 that is the whole signature.

    Raises:
        ServiceError: the request isn't signed, or not by a key of this emulator.
    """
    claim = claim_of(request, call.protocol)
    credentials = check_claim(claim, keys, call.protocol, now)
    if claim.service != signed_service(call):
        message = f"Credential should be scoped to correct service: '{signed_service(call)}'."
        raise refusal("mismatch", call.protocol, message)
    if call.service != "s3":
        return Admitted(call, request, claim, credentials)
    payload = request.header(_HASH_HEADER)
    if claim.expires_seconds is not None:
        payload = payload or UNSIGNED
    if payload is None:
        raise ServiceError("InvalidRequest", f"Missing required header for this request: {_HASH_HEADER}", 400)
    check_signature(claim, request, credentials, payload, call.protocol)
    return Admitted(call, request, claim, credentials, payload)


def content_of(entry: Admitted, body: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """The body as it was meant, and the headers that describe it.

    Raises:
        ServiceError: it isn't the body that was signed.
    """
    request, claim, protocol = entry.request, entry.claim, entry.call.protocol
    headers = list(request.headers)
    if entry.payload is None:
        found = sha256(body)
        announced = request.header(_HASH_HEADER)
        if announced is not None and not _same(announced, found):
            raise refusal("content", protocol)
        check_signature(claim, request, entry.credentials, found, protocol)
        return body, headers
    if entry.payload.startswith(STREAMING):
        length = request.header("x-amz-decoded-content-length")
        content, trailer = chunked.decoded(body, claim, entry.credentials, entry.payload, length)
        return content, _without_chunks(headers) + list(trailer.items())
    if entry.payload != UNSIGNED and not (_HASH.fullmatch(entry.payload) and _same(entry.payload, sha256(body))):
        raise refusal("content", protocol)
    return body, headers


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.lower().encode(), other.encode())


def _without_chunks(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of the content itself, without those of its parts."""
    found = []
    for name, value in headers:
        if name in ("x-amz-decoded-content-length", "x-amz-trailer", _HASH_HEADER):
            continue
        if name == "content-encoding":
            value = ",".join(each.strip() for each in value.split(",") if each.strip() != "aws-chunked")
        if value:
            found.append((name, value))
    return found
