"""A real server on a real port: predictions equal the classifier's, errors are reported, nothing hangs or leaks."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import urllib3

from breedclf.cli import main
from breedclf.inference.classifier import Classifier
from breedclf.serving.core import Limits
from breedclf.serving.http import connections
from breedclf.serving.http.app import Service
from breedclf.serving.requests import Bounds
from tests.serving.conftest import CLASSES, draw, encode, post, raw, running
from tests.waiting import PATIENCE_SECONDS, until

TOKEN = "a-token-of-some-length"
JPEG = encode(draw(3))


def head_of(length: int) -> bytes:
    """The headers of a request with a JPEG image."""
    lines = ("POST /invocations HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, headers=headers, retries=False, timeout=30)


def refusal(response: urllib3.BaseHTTPResponse) -> tuple[int, str, str]:
    document = response.json()
    assert set(document) == {"error", "request_id"}
    assert set(document["error"]) == {"code", "message"}
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert "Traceback" not in document["error"]["message"]
    assert len(document["error"]["message"]) < 400
    return response.status, document["error"]["code"], document["error"]["message"]


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/any-name/invocations"])
@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WebP", "application/x-image")]
)
def test_the_answer_is_the_classifiers(server_url: str, model: Path, path: str, kind: str, content_type: str) -> None:
    image = encode(draw(7), kind)
    response = post(server_url + path, image, content_type)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()["predictions"]
    expected = Classifier(model).predict(image).ranked
    assert [each["label"] for each in answer] == [each.label for each in expected]
    assert [each["probability"] for each in answer] == pytest.approx([each.probability for each in expected], abs=1e-5)
    assert {each["class_name"] for each in answer} == set(CLASSES)


def test_several_images_in_their_order(server_url: str, model: Path) -> None:
    images = [encode(draw(seed), "PNG") for seed in range(5)]
    body = json.dumps({"instances": [{"b64": base64.b64encode(each).decode()} for each in images]}).encode()
    response = post(server_url + "/invocations?top=2", body, "application/json")
    assert response.headers["Content-Type"] == "application/jsonlines"
    lines = [json.loads(line)["predictions"] for line in response.data.decode().splitlines()]
    for line, expected in zip(lines, Classifier(model).predict(images), strict=True):
        assert [each["label"] for each in line] == [each.label for each in expected.top(2)]


def test_many_clients_each_get_their_own_answer(server_url: str, model: Path) -> None:
    images = [encode(draw(seed, width=40 + seed), "PNG") for seed in range(24)]
    expected = [prediction.best.probability for prediction in Classifier(model).predict(images)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: post(server_url + "/invocations", each, "image/png").json(), images))
    assert [each["predictions"][0]["probability"] for each in answers] == pytest.approx(expected, abs=1e-5)


def test_ping_has_an_empty_body(server_url: str) -> None:
    response = get(server_url + "/ping")
    assert (response.status, response.data) == (200, b"")


def _bomb() -> bytes:
    from PIL import Image

    return encode(Image.new("1", (9000, 9000)), "PNG")


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "code"),
    [
        (JPEG[: len(JPEG) // 2], "image/jpeg", {}, 400, "BadImage"),
        (b"not an image", "image/jpeg", {}, 400, "BadImage"),
        (b"{", "application/json", {}, 400, "MalformedJson"),
        (JPEG, "image/jpeg", {"Accept": "text/csv"}, 406, "NotAcceptable"),
        (b"\xff\xd8\xff" + bytes(7 << 20), "image/jpeg", {}, 413, "PayloadTooLarge"),
        (JPEG, "image/png", {}, 415, "UnsupportedMediaType"),
        (JPEG, "application/x-npy", {}, 415, "UnsupportedMediaType"),
        (JPEG, None, {}, 415, "UnsupportedMediaType"),
        (_bomb(), "image/png", {}, 422, "TooManyPixels"),
        (JPEG, "image/jpeg", {"Host": "evil.example"}, 421, "MisdirectedRequest"),
    ],
)
def test_refusals(
    server_url: str, body: bytes, content_type: str | None, headers: dict[str, str], status: int, code: str
) -> None:
    assert refusal(post(server_url + "/invocations", body, content_type, **headers))[:2] == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invocations", 405),
        ("POST", "/", 405),
        ("POST", "/nothing", 404),
        ("GET", "/a/b", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e%2fetc%2fpasswd", 404),
        ("GET", "/__init__.py", 404),
        ("DELETE", "/endpoints/x", 404),
    ],
)
def test_other_paths(server_url: str, method: str, path: str, status: int) -> None:
    answer = raw(server_url, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b'"request_id"' in answer


def test_an_image_of_one_line_is_answered_without_filling_the_memory(server_url: str) -> None:
    before = psutil.Process().memory_info().rss
    assert post(server_url + "/invocations", encode(draw(width=60_000, height=1), "PNG"), "image/png").status == 200
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_a_body_far_over_the_limit_is_answered_without_a_reset(server_url: str) -> None:
    body = bytes(100 << 20)
    assert refusal(post(server_url + "/invocations", body))[0] == 413
    chunks = (b"x" * 65_536 for _ in range(200))
    response = urllib3.request("POST", server_url + "/invocations", body=chunks, retries=False, timeout=60)
    assert refusal(response)[0] == 413


def test_a_client_that_asks_first_needs_not_send(server_url: str) -> None:
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    answer = raw(server_url, f"{head}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n".encode(), seconds=3)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]


def test_malformed_http_gets_a_short_answer(server_url: str) -> None:
    for request in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n"):
        answer = raw(server_url, request, seconds=5)
        assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "BadRequest"


def test_a_request_id_is_kept_when_it_is_one(server_url: str) -> None:
    assert get(server_url + "/ping", **{"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert get(server_url + "/ping", **{"X-Request-Id": "a b\tc"}).headers["X-Request-Id"] != "a b\tc"


def test_a_token_keeps_others_out(model: Path) -> None:
    with running(model, Service(token=TOKEN)) as (url, _):
        response = post(url + "/invocations", JPEG)
        assert refusal(response)[:2] == (401, "Unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert post(url + "/invocations", JPEG, Authorization="Bearer wrong-wrong-wrong-wrong").status == 401
        assert post(url + "/invocations", JPEG, Authorization=f"Bearer {TOKEN}").status == 200
        assert get(url + "/ping").status == 200
        assert get(url + "/about").json()["token_required"] is True


def test_before_the_model_is_loaded(model: Path) -> None:
    del model
    with running(None) as (url, _):
        assert get(url + "/ping").status == 503
        response = post(url + "/invocations", JPEG)
        assert refusal(response)[:2] == (503, "Loading")
        assert response.headers["Retry-After"] == "1"


def test_ping_asks_the_model(model: Path) -> None:
    with running(model) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        network, pipeline.engine.classifier._network = pipeline.engine.classifier._network, None  # type: ignore[assignment]
        until(lambda: get(url + "/ping").status == 503)
        assert refusal(post(url + "/invocations", JPEG))[:2] == (500, "InternalError")
        pipeline.engine.classifier._network = network
        assert get(url + "/ping").status == 200


def test_overload_is_refused_at_once_and_the_admitted_are_answered(model: Path) -> None:
    with running(model, Service(bounds=Bounds(max_pending=4, decoders=2))) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        forward = pipeline.engine.classifier.probabilities_of_inputs
        gate = threading.Event()

        def slow(inputs: object) -> object:
            gate.wait(30)
            return forward(inputs)  # type: ignore[arg-type]

        pipeline.engine.classifier.probabilities_of_inputs = slow  # type: ignore[method-assign, assignment]
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(post, url + "/invocations", JPEG) for _ in range(16)]
            until(lambda: sum(each.done() for each in asked) == 12)
            for each in asked:
                if each.done():
                    assert refusal(each.result())[:2] == (503, "Overloaded")
                    assert int(each.result().headers["Retry-After"]) >= 1
            gate.set()
        assert sorted(each.result().status for each in asked) == [200] * 4 + [503] * 12
        assert post(url + "/invocations", JPEG).status == 200


def test_slow_clients_are_let_go(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with running(model, Service(bounds=Bounds(body_seconds=0.3))) as (url, server):
        assert raw(url, b"POST /invocations HT") == b""
        assert raw(url, head_of(1000) + JPEG[:50]).startswith(b"HTTP/1.1 408 ")
        assert post(url + "/invocations", JPEG).status == 200
        until(lambda: not server.server_state.connections)


def test_a_client_that_leaves_gives_its_room_back(model: Path) -> None:
    with running(model, Service(bounds=Bounds(max_pending=2))) as (url, _):
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(6):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head_of(9999) + JPEG[:50])
        until(lambda: post(url + "/invocations", JPEG).status == 200)


def test_limits_of_ones_own(model: Path) -> None:
    with running(model, Service(limits=Limits(max_body_bytes=100, max_pixels=10))) as (url, _):
        assert post(url + "/invocations", JPEG).status == 413


def _start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_process_serves_and_drains_on_sigterm(model: Path) -> None:
    port = _free_port()
    process = _start("breedclf.serving", "serve", str(model), SAGEMAKER_BIND_TO_PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, process.communicate()[1]
        with socket.create_connection(("127.0.0.1", port)) as taken_before_the_end:
            expecting = head_of(len(JPEG)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
            taken_before_the_end.sendall(expecting)
            assert taken_before_the_end.recv(100_000).startswith(b"HTTP/1.1 100 ")
            process.send_signal(signal.SIGTERM)
            until(lambda: not _answers(url))
            taken_before_the_end.sendall(JPEG)
            answer = taken_before_the_end.recv(100_000)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    request = next(each for each in records if each["event"] == "request" and each["path"] == "/invocations")
    assert request["status"] == 200
    assert request["request_id"]
    assert request["pictures"] == 1


def _answers(url: str) -> bool:
    try:
        return get(url + "/ping").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_a_port_that_is_taken(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(model), "--port", str(taken.getsockname()[1])]) == 2
    assert "Address already in use; choose another with --port" in capsys.readouterr().err


def test_an_artifact_that_was_tampered_with(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            content[-500] ^= 1
        (copy / file.name).write_bytes(content)
    assert main(["serve", str(copy), "--port", "0"]) == 3
    said = capsys.readouterr().err
    assert "is damaged or was replaced" in said
    assert "Traceback" not in said


def test_beyond_this_machine_a_token_is_needed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(model), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "is reachable from other machines: set a token" in capsys.readouterr().err
