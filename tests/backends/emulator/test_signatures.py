"""Signature Version 4: AWS's published examples, clocks and presigned URLs."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from breedclf.backends.emulator.access.admission import admit, content_of
from breedclf.backends.emulator.access.keys import Credentials, KeyRing
from breedclf.backends.emulator.access.signature import SignedRequest
from breedclf.backends.emulator.protocol import ServiceError, call_of

# The examples that AWS's documentation of Signature Version 4 for S3 computes step by step.
THEIRS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN = datetime(2013, 5, 24, tzinfo=UTC)
SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
EMPTY = hashlib.sha256(b"").hexdigest()
CHUNKS = ["a" * 65536, "a" * 1024, ""]


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(THEIRS, tmp_path / "sessions.json")


def authorization(names: str, signature: str) -> tuple[str, str]:
    return "authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={names},Signature={signature}"


def published_get() -> SignedRequest:
    names = "host;range;x-amz-content-sha256;x-amz-date"
    headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        authorization(names, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
    ]
    return SignedRequest("GET", "/test.txt", "", headers)


def published_listing() -> SignedRequest:
    names = "host;x-amz-content-sha256;x-amz-date"
    headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        authorization(names, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
    ]
    return SignedRequest("GET", "/", "max-keys=2&prefix=J", headers)


def published_presigned() -> SignedRequest:
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SCOPE.replace('/', '%2F')}&X-Amz-Date=20130524T000000Z"
        "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    return SignedRequest("GET", "/test.txt", query, [("host", "examplebucket.s3.amazonaws.com")])


def published_parts() -> tuple[SignedRequest, bytes]:
    names = (
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class"
    )
    headers = [
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        authorization(names, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("content-length", "66824"),
    ]
    signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    body = "".join(
        f"{len(part):x};chunk-signature={signature}\r\n{part}\r\n"
        for part, signature in zip(CHUNKS, signatures, strict=True)
    )
    return SignedRequest("PUT", "/examplebucket/chunkObject.txt", "", headers), body.encode()


def published_trailer() -> tuple[SignedRequest, bytes]:
    names = (
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer"
    )
    headers = [
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        authorization(names, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-trailer", "x-amz-checksum-crc32c"),
    ]
    signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    body = "".join(
        f"{len(part):x};chunk-signature={signature}\r\n{part}" + ("\r\n" if part else "")
        for part, signature in zip(CHUNKS, signatures, strict=True)
    )
    body += "x-amz-checksum-crc32c:sOO8/Q==\r\n"
    body += "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    return SignedRequest("PUT", "/examplebucket/chunkObject.txt", "", headers), body.encode()


def received(request: SignedRequest, body: bytes, ring: KeyRing, now: datetime = THEN) -> tuple[bytes, dict[str, str]]:
    call = call_of(dict(request.headers), request.path, request.query)
    content, headers = content_of(admit(call, request, ring, now), body)
    return content, dict(headers)


@pytest.mark.parametrize("request_", [published_get(), published_listing(), published_presigned()])
def test_published_examples_are_accepted_and_altered_ones_refused(request_: SignedRequest, ring: KeyRing) -> None:
    assert received(request_, b"", ring)[0] == b""
    host = [("host", "other.s3.amazonaws.com"), *[pair for pair in request_.headers if pair[0] != "host"]]
    for altered in (
        dataclasses.replace(request_, method="PUT"),
        dataclasses.replace(request_, path="/test.txt2"),
        dataclasses.replace(request_, query=f"{request_.query}&versionId=1"),
        dataclasses.replace(request_, headers=host),
    ):
        with pytest.raises(ServiceError, match="signature we calculated does not match") as caught:
            received(altered, b"", ring)
        assert (caught.value.code, caught.value.status) == ("SignatureDoesNotMatch", 403)
    unsigned = dataclasses.replace(request_, headers=[*request_.headers, ("x-amz-acl", "public-read")])
    with pytest.raises(ServiceError, match="not signed: x-amz-acl"):
        received(unsigned, b"", ring)


def test_published_chunks_are_joined_and_altered_ones_refused(ring: KeyRing) -> None:
    request, body = published_parts()
    content, headers = received(request, body, ring)
    assert content == b"a" * 66560
    assert "content-encoding" not in headers
    assert "x-amz-decoded-content-length" not in headers
    for altered in (body.replace(b"a" * 1024 + b"\r\n", b"a" * 1023 + b"b\r\n"), body[: body.rindex(b"0;chunk")]):
        with pytest.raises(ServiceError) as caught:
            received(request, altered, ring)
        assert caught.value.code in ("SignatureDoesNotMatch", "IncompleteBody")
    short = [(name, "5" if name == "x-amz-decoded-content-length" else value) for name, value in request.headers]
    with pytest.raises(ServiceError):
        received(dataclasses.replace(request, headers=short), body, ring)


def test_the_published_trailer_becomes_a_header_and_an_altered_one_is_refused(ring: KeyRing) -> None:
    request, body = published_trailer()
    content, headers = received(request, body, ring)
    assert content == b"a" * 66560
    assert headers["x-amz-checksum-crc32c"] == "sOO8/Q=="
    with pytest.raises(ServiceError, match="does not match"):
        received(request, body.replace(b"sOO8", b"sOO9"), ring)


@pytest.mark.parametrize(
    ("service", "minutes", "code"),
    [
        ("s3", 16, "RequestTimeTooSkewed"),
        ("s3", -16, "RequestTimeTooSkewed"),
        ("sagemaker", 6, "InvalidSignatureException"),
        ("sagemaker", -6, "InvalidSignatureException"),
        ("sts", 6, "SignatureDoesNotMatch"),
        ("s3", 14, None),
        ("sagemaker", 4, None),
    ],
)
def test_clocks_may_differ_as_much_as_at_aws(service: str, minutes: int, code: str | None, ring: KeyRing) -> None:
    request = published_get()
    date, credential = "20130524T000000Z", SCOPE.replace("/s3/", f"/{service}/")
    headers = [
        ("host", "localhost"),
        ("authorization", f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0"),
        ("x-amz-date", date),
        ("x-amz-content-sha256", EMPTY),
        ("content-type", "application/x-www-form-urlencoded" if service == "sts" else "text/plain"),
    ]
    if service == "sagemaker":
        headers.append(("x-amz-target", "SageMaker.ListModels"))
    request = dataclasses.replace(request, headers=headers)
    with pytest.raises(ServiceError) as caught:
        received(request, b"", ring, THEN + timedelta(minutes=minutes))
    if code is None:
        assert "signed" in str(caught.value)  # the clock was right; what comes next isn't
    else:
        assert caught.value.code == code


def test_a_presigned_url_expires(ring: KeyRing) -> None:
    assert received(published_presigned(), b"", ring, THEN + timedelta(hours=23)) == (
        b"",
        {"host": "examplebucket.s3.amazonaws.com"},
    )
    with pytest.raises(ServiceError, match="Request has expired"):
        received(published_presigned(), b"", ring, THEN + timedelta(hours=25))
