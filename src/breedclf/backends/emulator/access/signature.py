"""Checks Signature Version 4: botocore's signer computes the signature that a request must have."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from breedclf.backends.emulator.access.keys import Credentials, KeyRing
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.errors import MissingExtraError

try:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders
except ImportError as _missing:
    raise MissingExtraError(
        "the emulator checks signatures with botocore: pip install 'breedclf[sagemaker]'"
    ) from _missing

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"
_MINUTES, _S3_MINUTES = 5, 15  # tolerated clock skew, as in AWS's services
_MAX_EXPIRES_SECONDS = 604_800
_STAMP = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(rf"{ALGORITHM}\s+(.*)", re.DOTALL)
_CALCULATED = "The request signature we calculated does not match the signature you provided. Check your "
_NO_TOKEN = "The security token included in the request is invalid."
_MISMATCH = _CALCULATED + "AWS Secret Access Key and signing method. Consult the service documentation for details."
_NOT_THE_HASH = "The payload's hash isn't the one that was signed."
# Code and message of each refusal for S3, for other services that answer in XML, and for the rest.
_WORDS: dict[str, tuple[tuple[str, str], tuple[str, str], tuple[str, str]]] = {
    "missing": (
        ("AccessDenied", "Access Denied"),
        ("MissingAuthenticationToken", "Request is missing Authentication Token"),
        ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    ),
    "incomplete": (
        ("AuthorizationHeaderMalformed", ""),
        ("IncompleteSignature", ""),
        ("IncompleteSignatureException", ""),
    ),
    "unknown key": (
        ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        ("InvalidClientTokenId", _NO_TOKEN),
        ("UnrecognizedClientException", _NO_TOKEN),
    ),
    "wrong token": (
        ("InvalidToken", "The provided token is malformed or otherwise invalid."),
        ("InvalidClientTokenId", _NO_TOKEN),
        ("UnrecognizedClientException", _NO_TOKEN),
    ),
    "ended token": (
        ("ExpiredToken", "The provided token has expired."),
        ("ExpiredToken", "The security token included in the request is expired"),
        ("ExpiredTokenException", "The security token included in the request is expired"),
    ),
    "clock": (
        ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
        ("SignatureDoesNotMatch", ""),
        ("InvalidSignatureException", ""),
    ),
    "expired": (("AccessDenied", ""), ("SignatureDoesNotMatch", ""), ("InvalidSignatureException", "")),
    "mismatch": (
        ("SignatureDoesNotMatch", _CALCULATED + "key and signing method."),
        ("SignatureDoesNotMatch", _MISMATCH),
        ("InvalidSignatureException", _MISMATCH),
    ),
    "content": (
        ("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."),
        ("SignatureDoesNotMatch", _NOT_THE_HASH),
        ("InvalidSignatureException", _NOT_THE_HASH),
    ),
    "not signed": (("AccessDenied", ""), ("SignatureDoesNotMatch", ""), ("InvalidSignatureException", "")),
}
_BAD_REQUESTS = {"AuthorizationHeaderMalformed", "InvalidToken", "XAmzContentSHA256Mismatch"}  # S3's with status 400


@dataclass(frozen=True)
class SignedRequest:
    """The signed parts of a request: path and query as they were sent, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """The first header of a name, in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True)
class Claim:
    """What a request claims about its signature."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    stamp: str
    token: str | None = None
    expires_seconds: int | None = None  # of a presigned URL

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def refusal(kind: str, protocol: str, message: str = "") -> ServiceError:
    """The error of the services that use a protocol."""
    code, sentence = _WORDS[kind][{"s3": 0, "query": 1, "rest-xml": 1}.get(protocol, 2)]
    return ServiceError(code, message or sentence, 400 if code in _BAD_REQUESTS else 403)


def claim_of(request: SignedRequest, protocol: str) -> Claim:
    """Read the Authorization header, or the query of a presigned URL.

    Raises:
        ServiceError: it is missing or incomplete.
    """
    header = request.header("authorization")
    if (header or "").startswith("AWS ") or (header is None and "AWSAccessKeyId=" in request.query):
        message = f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."
        hint = ' boto3 presigns so with Config(signature_version="s3v4").' if header is None else ""
        raise ServiceError("InvalidRequest", message + hint, 400)
    if header is None:
        pairs = {name: value for name, value in _pairs(request.query) if name.lower().startswith("x-amz-")}
        if "X-Amz-Signature" not in pairs and "X-Amz-Credential" not in pairs:
            raise refusal("missing", protocol)
        if pairs.get("X-Amz-Algorithm") != ALGORITHM:
            raise refusal("incomplete", protocol, f"X-Amz-Algorithm must be {ALGORITHM}")
        fields = {name: pairs.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        stamp, token = pairs.get("X-Amz-Date", ""), pairs.get("X-Amz-Security-Token")
        expires = pairs.get("X-Amz-Expires", "")
        if not re.fullmatch(r"[0-9]{1,6}", expires) or not 0 < int(expires) <= _MAX_EXPIRES_SECONDS:
            raise refusal("incomplete", protocol, f"X-Amz-Expires must be between 1 and {_MAX_EXPIRES_SECONDS} seconds")
        return _claim(fields, stamp, token, int(expires), protocol)
    found = _HEADER.fullmatch(header.strip())
    if found is None:
        raise refusal("incomplete", protocol, f"The authorization mechanism isn't supported. Please use {ALGORITHM}.")
    fields = dict(part.strip().partition("=")[::2] for part in found[1].split(","))
    stamp = request.header("x-amz-date") or _http_date(request.header("date") or "")
    return _claim(fields, stamp, request.header("x-amz-security-token"), None, protocol)


def check_claim(claim: Claim, keys: KeyRing, protocol: str, now: datetime) -> Credentials:
    """The credentials of a claim, without reading the body.

    Raises:
        ServiceError: the key is unknown, its token is wrong or expired, or the clocks differ too much.
    """
    credentials = keys.find(claim.access_key)
    if credentials is None:
        raise refusal("unknown key", protocol)
    if not hmac.compare_digest((claim.token or "").encode(), (credentials.token or "").encode()):
        raise refusal("wrong token", protocol)
    if credentials.expires is not None and now.timestamp() > credentials.expires:
        raise refusal("ended token", protocol)
    at = datetime.strptime(claim.stamp, _STAMP).replace(tzinfo=UTC)
    tolerance = timedelta(minutes=_S3_MINUTES if protocol == "s3" else _MINUTES)
    if claim.expires_seconds is not None:
        if now > at + timedelta(seconds=claim.expires_seconds):
            raise refusal("expired", protocol, "Request has expired")
        if at > now + tolerance:
            raise refusal("expired", protocol, "Request is not yet valid")
    elif abs(now - at) > tolerance:
        message = "" if protocol == "s3" else _clock_message(claim.stamp, at, now, tolerance)
        raise refusal("clock", protocol, message)
    return credentials


def check_signature(
    claim: Claim, request: SignedRequest, credentials: Credentials, payload: str, protocol: str
) -> None:
    """Compare the signature with the one that these credentials produce.

    Args:
        claim: the request's claim.
        request: the request.
        credentials: the credentials of the claim's key.
        payload: the SHA-256 of the body as hexadecimal digits, or a keyword such as UNSIGNED-PAYLOAD.
        protocol: the protocol of error responses.

    Raises:
        ServiceError: they differ, or a required header wasn't signed.
    """
    required = {"host"} | {name for name, _ in request.headers if name.startswith("x-amz-")}
    if missing := sorted(required - set(claim.signed_headers)):
        raise refusal("not signed", protocol, f"There were headers that were not signed: {', '.join(missing)}")
    if not hmac.compare_digest(_computed(claim, request, credentials, payload), claim.signature.encode()):
        raise refusal("mismatch", protocol)


def signing_key(claim: Claim, credentials: Credentials) -> bytes:
    """The key that the parts of a streamed body are signed with."""
    key = f"AWS4{credentials.secret_key}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sha256(content: bytes) -> str:
    """The SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class _Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signer with given signed headers and payload hash."""

    def __init__(self, claim: Claim, request: SignedRequest, credentials: Credentials, payload: str) -> None:
        super().__init__(credentials, claim.service, claim.region)
        self._headers = HTTPHeaders()
        for name, value in request.headers:
            if name in claim.signed_headers:
                self._headers[name] = value
        self._payload = payload

    def headers_to_sign(self, request: Any) -> Any:
        del request
        return self._headers

    def _normalize_url_path(self, path: str) -> str:
        if self._service_name == "s3":
            return quote(unquote_to_bytes(path), safe="/~")
        return str(super()._normalize_url_path(path))


def _computed(claim: Claim, request: SignedRequest, credentials: Credentials, payload: str) -> bytes:
    pairs = [(name, value) for name, value in _raw_pairs(request.query) if name != "X-Amz-Signature"]
    query = "&".join("=".join(quote(unquote_to_bytes(part), safe="-_.~") for part in pair) for pair in pairs)
    unsigned = AWSRequest(
        method=request.method,
        url=f"http://localhost{request.path}" + (f"?{query}" if query else ""),
        headers={"X-Amz-Content-SHA256": payload},
    )
    unsigned.context["timestamp"] = claim.stamp
    signer = _Signer(claim, request, credentials, payload)
    text = signer.string_to_sign(unsigned, signer.canonical_request(unsigned))
    return str(signer.signature(text, unsigned)).encode()


def _claim(fields: dict[str, str], stamp: str, token: str | None, expires_seconds: int | None, protocol: str) -> Claim:
    scope = fields.get("Credential", "").split("/")
    lacking = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if lacking or len(scope) != 5 or scope[4] != "aws4_request":
        raise refusal("incomplete", protocol, f"The authorization is incomplete: {', '.join(lacking) or 'Credential'}")
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", stamp) or stamp[:8] != scope[1] or not _is_time(stamp):
        raise refusal("incomplete", protocol, "X-Amz-Date or Date is missing, or isn't of the credential's day")
    headers = tuple(fields["SignedHeaders"].lower().split(";"))
    return Claim(scope[0], scope[1], scope[2], scope[3], headers, fields["Signature"], stamp, token, expires_seconds)


def _is_time(stamp: str) -> bool:
    try:
        datetime.strptime(stamp, _STAMP)
    except ValueError:
        return False
    return True


def _http_date(text: str) -> str:
    if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text):
        return text
    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime(_STAMP)
    except (ValueError, OverflowError):
        return ""


def _clock_message(stamp: str, at: datetime, now: datetime, tolerance: timedelta) -> str:
    minutes = f"{tolerance.seconds // 60} min."
    if at < now:
        limit = f"{now - tolerance:{_STAMP}} ({now:{_STAMP}} - {minutes})"
        return f"Signature expired: {stamp} is now earlier than {limit}"
    limit = f"{now + tolerance:{_STAMP}} ({now:{_STAMP}} + {minutes})"
    return f"Signature not yet current: {stamp} is still later than {limit}"


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(unquote(name), unquote(value)) for name, value in _raw_pairs(query)]


def _raw_pairs(query: str) -> list[tuple[str, str]]:
    found = [pair.partition("=") for pair in query.split("&")] if query else []
    return [(name, value) for name, _, value in found]
