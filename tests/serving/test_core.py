"""What requests mean and what answers say, without a server."""

from __future__ import annotations

import base64
import json

import pytest

from breedclf.errors import ConfigError
from breedclf.inference.prediction import Prediction, RankedClass
from breedclf.serving.core import (
    JSON,
    JSON_LINES,
    Limits,
    RequestError,
    accepted_types,
    answer,
    check_encoding,
    error_body,
    images_in,
    requested_count,
    service_error_body,
)
from breedclf.serving.http.access import allowed_hosts, check_exposure, check_origins, host_is_allowed, token_is_valid
from tests.serving.conftest import draw, encode

JPEG = encode(draw())
PNG = encode(draw(), "PNG")
GIF = encode(draw(), "GIF")
CAT_OR_DOG = Prediction((RankedClass("Cat", "1.Cat", 0.75), RankedClass("Dog", "2.Dog", 0.25)))


def instances(*images: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(each).decode()} for each in images]}).encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/jpeg", JPEG),
        ("IMAGE/PNG; charset=binary", PNG),
        ("image/webp", encode(draw(), "WebP")),
        ("application/x-image", PNG),
        ("image/jpg", JPEG),
        ("image/pjpeg;q=1", JPEG),
        ("Image/X-PNG", PNG),
        ("application/octet-stream", JPEG),
        ("binary/octet-stream", PNG),
    ],
)
def test_an_image_file_is_taken(content_type: str, body: bytes) -> None:
    assert images_in(body, content_type) == [body]


def test_several_images_as_json() -> None:
    assert images_in(instances(JPEG, PNG), "application/json; charset=utf-8") == [JPEG, PNG]


PLAIN = base64.b64encode(PNG).decode()
FOR_URLS = base64.urlsafe_b64encode(PNG).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{PLAIN}",
        f"data:image/png;name=a.png;base64,{FOR_URLS}",
        f"DATA:;BASE64,{PLAIN}",
        f"data:image/jpeg;base64,{PLAIN}",
        "data:image/png;base64," + PLAIN.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        base64.encodebytes(PNG).decode(),
        base64.encodebytes(PNG).decode().replace("\n", "\r\n\t "),
        FOR_URLS,
        FOR_URLS.rstrip("="),
        PLAIN.rstrip("="),
    ],
)
def test_base64_as_it_is_met(text: str) -> None:
    assert images_in(json.dumps({"instances": [{"b64": text}]}).encode(), JSON) == [PNG]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:image/png,abc", "a data URL must start with data:image/jpeg;base64,"),
        ("data:image/png;base64", "instance 0 is empty"),
        ("aGk=aGk=", "encode the file's bytes as they are"),
        ("aGk!", "in 'aGk!'"),
        ("a", "instance 0 is not valid base64"),
        ("é" * 500, "instance 0 is not valid base64"),
        ("data:image/png;base64,", "instance 0 is empty"),
    ],
)
def test_base64_that_is_none(text: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        images_in(json.dumps({"instances": [{"b64": text}]}).encode(), JSON)
    assert error.value.status == 400
    assert message in str(error.value)
    assert len(str(error.value)) < 350


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_curls_default_content_type_is_refused_with_a_remedy(kind: str) -> None:
    with pytest.raises(RequestError, match="--data-binary @dog.jpg -H 'Content-Type: image/jpeg'") as error:
        images_in(JPEG, kind)
    assert error.value.status == 415
    assert kind.partition(";")[0] in str(error.value)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x" * 500])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(RequestError, match="isn't supported; send the body uncompressed") as error:
        check_encoding(encoding)
    assert error.value.status == 415
    assert len(str(error.value)) < 300


def test_a_body_as_it_is() -> None:
    for encoding in (None, "", "identity", " Identity "):
        check_encoding(encoding)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("count", [1, 3])
def test_an_answer_is_json_or_none_is_given(number: float, count: int) -> None:
    broken = Prediction((RankedClass("Cat", "1.Cat", number), RankedClass("Dog", "2.Dog", 0.25)))
    with pytest.raises(RequestError, match="are NaN or infinite.* train it again, or serve another model") as error:
        answer([CAT_OR_DOG] * (count - 1) + [broken], frozenset({JSON, JSON_LINES}))
    assert (error.value.status, error.value.code) == (500, "ModelFailed")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "message"),
    [
        (None, JPEG, 415, "the request has no Content-Type; send one of image/jpeg"),
        ("application/x-npy", b"\x93NUMPY", 415, "Content-Type 'application/x-npy' isn't supported"),
        ("text/plain" + "x" * 500, JPEG, 415, "xxx...' isn't supported"),
        ("image/jpeg", PNG, 415, "the body is PNG, not JPEG as in Content-Type image/jpeg"),
        ("application/x-image", GIF, 415, "the body is GIF; send JPEG, PNG or WebP"),
        ("image/jpeg", b"hello", 400, "the body is not an image; it starts with 'hello'"),
        ("image/jpeg", b"", 400, "the body is empty"),
        (JSON, b"{", 400, "the body is not valid JSON"),
        (JSON, b"\xff\xfe\x00", 400, "the body is not valid JSON"),
        (JSON, b"[" * 100_000, 400, "the body is not valid JSON"),
        (JSON, b"[]", 400, '{"instances": [{"b64": "..."}, ...]}'),
        (JSON, b'{"instances": []}', 400, '{"instances": [{"b64": "..."}, ...]}'),
        (JSON, b'{"instances": [{"b64": "aGk="}], "model": 1}', 400, '{"instances": [{"b64": "..."}, ...]}'),
        (JSON, b'{"instances": ["aGk="]}', 400, "instance 0 must be"),
        (JSON, b'{"instances": [{"b64": "?"}]}', 400, "instance 0 is not valid base64"),
        (JSON, '{"instances": [{"b64": "é"}]}'.encode(), 400, "instance 0 is not valid base64"),
        (JSON, b'{"instances": [{"b64": ""}]}', 400, "instance 0 is empty"),
        (JSON, instances(JPEG, b"hello"), 400, "instance 1 is not an image"),
        (JSON, instances(JPEG, GIF), 415, "instance 1 is GIF"),
        (JSON, instances(*[PNG[:16]] * 33), 413, "33 images in one request; send at most 32"),
    ],
)
def test_what_is_refused(content_type: str | None, body: bytes, status: int, message: str) -> None:
    with pytest.raises(RequestError) as error:
        images_in(body, content_type)
    assert error.value.status == status
    assert message in str(error.value)
    assert len(str(error.value)) < 300


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(RequestError, match="longer than 100 bytes") as error:
        images_in(JPEG, "image/jpeg", Limits(max_body_bytes=100))
    assert error.value.status == 413


@pytest.mark.parametrize(
    ("accept", "allowed"),
    [
        (None, {JSON, JSON_LINES}),
        ("*/*", {JSON, JSON_LINES}),
        ("text/html, application/json;q=0.5", {JSON}),
        ("application/jsonlines", {JSON_LINES}),
        ("Application/*;q=0.1", {JSON, JSON_LINES}),
    ],
)
def test_answers_that_a_client_takes(accept: str | None, allowed: set[str]) -> None:
    assert accepted_types(accept) == allowed


@pytest.mark.parametrize("accept", ["text/csv", "application/x-npy", "application/json;q=0", "*/*;q=0.0"])
def test_answers_that_nobody_can_give(accept: str) -> None:
    with pytest.raises(RequestError, match="responses are application/json or application/jsonlines") as error:
        accepted_types(accept)
    assert error.value.status == 406


@pytest.mark.parametrize(
    ("query", "attributes", "count"),
    [(None, None, None), ("", "trace=1", None), ("top=5", None, 5), ("a=b&top=1", "top=7", 1), (None, "x=1,top=2", 2)],
)
def test_how_many_classes_are_named(query: str | None, attributes: str | None, count: int | None) -> None:
    assert requested_count(query, attributes) == count


@pytest.mark.parametrize("query", ["top=0", "top=-1", "top=", "top=five", "top=1e3", "top=99999999999999999999"])
def test_a_count_that_is_none(query: str) -> None:
    with pytest.raises(RequestError, match="must be a whole number of at least 1"):
        requested_count(query, None)


def test_one_image_is_answered_in_json() -> None:
    body, kind = answer([CAT_OR_DOG], frozenset({JSON, JSON_LINES}))
    assert kind == JSON
    assert json.loads(body) == {
        "predictions": [
            {"class_name": "Cat", "label": "1.Cat", "probability": 0.75},
            {"class_name": "Dog", "label": "2.Dog", "probability": 0.25},
        ],
        "known": True,
    }


@pytest.mark.parametrize(("count", "accepted"), [(1, {JSON_LINES}), (2, {JSON}), (2, {JSON, JSON_LINES})])
def test_otherwise_a_line_for_each(count: int, accepted: set[str]) -> None:
    body, kind = answer([CAT_OR_DOG] * count, frozenset(accepted), top=1)
    assert kind == JSON_LINES
    lines = [json.loads(line) for line in body.decode().splitlines()]
    assert [len(line["predictions"]) for line in lines] == [1] * count


def test_an_error_has_code_message_and_request_id() -> None:
    error = RequestError(415, "UnsupportedMediaType", "no")
    expected = {"error": {"code": "UnsupportedMediaType", "message": "no"}, "request_id": "r1"}
    assert json.loads(error_body(error, "r1")) == expected
    wrapped = json.loads(service_error_body(error, "r1"))
    assert wrapped["OriginalStatusCode"] == 415
    assert json.loads(wrapped["OriginalMessage"]) == expected


def test_hosts() -> None:
    local = allowed_hosts("127.0.0.1")
    for header in ("localhost:8080", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert host_is_allowed(header, local), header
    for header in (
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "",
        None,
        "localhost:x",
        "localhost:",
    ):
        assert not host_is_allowed(header, local), header
    assert host_is_allowed("anything", allowed_hosts("0.0.0.0"))
    assert not host_is_allowed("other", allowed_hosts("0.0.0.0", ["Dogs.example"]))
    assert host_is_allowed("dogs.example:1", allowed_hosts("0.0.0.0", ["Dogs.example"]))


@pytest.mark.parametrize(
    "origin", ["https://a.example", "http://localhost:3000", "http://[::1]:8080", "*", "chrome-extension://abc"]
)
def test_origins(origin: str) -> None:
    check_origins([origin])


@pytest.mark.parametrize(
    "origin", ["", "a.example", "https://a.example/", "https://*.example", "https://a.example/path", "null"]
)
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(ConfigError, match="is not an origin: write it as https://example.org"):
        check_origins([origin])


def test_tokens() -> None:
    token = "a-token-of-some-length"
    assert token_is_valid(f"Bearer {token}", token)
    for header in (None, "", token, f"Basic {token}", f"Bearer {token}x", "Bearer ", "Bearer é"):
        assert not token_is_valid(header, token), header


@pytest.mark.parametrize(
    ("host", "token", "message"),
    [
        ("0.0.0.0", None, "is reachable from other machines: set a token"),
        ("192.168.1.5", None, "is reachable from other machines"),
        ("example.org", None, "is reachable from other machines"),
        ("127.0.0.1", "short", "the token has 5 characters; at least 16 are required"),
        ("127.0.0.1", "with spaces in the middle", "aren't allowed in a header"),
    ],
)
def test_addresses_that_are_refused(host: str, token: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_exposure(host, token, no_token=False)


def test_addresses_that_are_fine() -> None:
    check_exposure("localhost", None, no_token=False)
    check_exposure("::1", None, no_token=False)
    check_exposure("0.0.0.0", "a-token-of-some-length", no_token=False)
    check_exposure("0.0.0.0", None, no_token=True)
