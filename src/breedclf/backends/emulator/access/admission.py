"""Verifies signed requests: first what the headers allow, then the body."""

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
    """A request whose headers were verified; `payload` is S3's x-amz-content-sha256, whose signature was checked."""

    call: Call
    request: SignedRequest
    claim: Claim
    credentials: Credentials
    payload: str | None = None


def admit(call: Call, request: SignedRequest, keys: KeyRing, now: datetime) -> Admitted:
    """Verify everything that doesn't need the body; for S3 that is the whole signature.

    Raises:
        ServiceError: the request isn't signed with a valid key of this emulator.
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
    """Verify the body, and return it decoded with the headers that describe it.

    Raises:
        ServiceError: the body differs from the one that was signed.
    """
    request, claim, protocol = entry.request, entry.claim, entry.call.protocol
    headers = list(request.headers)
    if entry.payload is None:
        digest = sha256(body)
        announced = request.header(_HASH_HEADER)
        if announced is not None and not _same(announced, digest):
            raise refusal("content", protocol)
        check_signature(claim, request, entry.credentials, digest, protocol)
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
    """The headers of the content, without those of the chunked encoding."""
    found = []
    for name, value in headers:
        if name in ("x-amz-decoded-content-length", "x-amz-trailer", _HASH_HEADER):
            continue
        if name == "content-encoding":
            value = ",".join(each.strip() for each in value.split(",") if each.strip() != "aws-chunked")
        if value:
            found.append((name, value))
    return found
