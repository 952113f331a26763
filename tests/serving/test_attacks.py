"""Hostile requests: honest ones are answered meanwhile, nothing is stuck, and /ping tells the truth."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.runtime.process_signals import EXIT_INTERRUPTED
from breedclf.serving.core import Limits, RequestError
from breedclf.serving.decoding import decoders
from breedclf.serving.decoding.decoder_process import DecoderProcess
from breedclf.serving.http.app import Service
from breedclf.serving.http.connections import PatientProtocol
from breedclf.serving.requests import Bounds
from tests.hostile_images import many_scans, png_of
from tests.serving.conftest import draw, encode, post, raw, running, serving_process
from tests.waiting import PATIENCE_SECONDS, under_load, until

JPEG = encode(draw(3))
QUICK_SECONDS = 2.0


def place_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def head(length: int | None, *lines: str, kind: str = "image/jpeg", target: str = "/invocations") -> bytes:
    given = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *lines]
    if length is not None:
        given.append(f"Content-Length: {length}")
    return "\r\n".join([*given, "", ""]).encode()


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@contextlib.contextmanager
def open_connections(url: str, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(place_of(url), timeout=20)) for _ in range(count)]
        for connection in connections:
            connection.sendall(said)
        yield connections


def slowest_ping(url: str, during: Callable[[], object]) -> float:
    """The longest wait for /ping, one after another on one connection, while something else goes on."""
    connection = http.client.HTTPConnection(*place_of(url), timeout=30)
    waits: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(during)
        while not busy.done():
            started = time.monotonic()
            connection.request("GET", "/ping")
            response = connection.getresponse()
            response.read()
            waits.append(time.monotonic() - started)
            assert response.status == 200
            time.sleep(0.005)
        busy.result()
    connection.close()
    return max(waits)


@pytest.mark.parametrize(
    ("image", "kind"),
    [(many_scans(81_501), "image/jpeg"), (png_of(1, 49_900_000), "image/png")],
    ids=["scans", "a column"],
)
def test_an_image_that_would_take_long_is_refused_at_once(server_url: str, image: bytes, kind: str) -> None:
    started = time.process_time()  # the server is a thread of this process
    response = post(server_url + "/invocations", image, kind)
    assert time.process_time() - started < QUICK_SECONDS
    assert (response.status, response.json()["error"]["code"]) == (422, "TooCostly")
    assert "can't be decoded: " in response.json()["error"]["message"]


def test_hostile_images_among_regular_ones(model: Path) -> None:
    hostile = [many_scans(count) for count in (81_501, 40_000, 5_000)]
    honest = [encode(draw(seed, width=300, height=200)) for seed in range(8)]

    def honest_waits(url: str, count: int) -> list[float]:
        connection, waits = http.client.HTTPConnection(*place_of(url), timeout=60), []
        for number in range(count):
            started = time.monotonic()
            connection.request("POST", "/invocations", honest[number % 8], {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            waits.append(time.monotonic() - started)
        connection.close()
        return waits

    with serving_process(model) as (url, process), ThreadPoolExecutor(3) as pool:
        honest_waits(url, 10)
        usual = max(honest_waits(url, 40))
        memory = process.memory_info().rss
        attack = [
            pool.submit(lambda number=number: post(url + "/invocations", hostile[number % 3]).status)
            for number in range(100)
        ]
        waits = honest_waits(url, 40)
        assert {each.result() for each in attack} == {422}
        assert max(waits) < max(2 * usual, usual + 0.25)
        assert process.memory_info().rss - memory < 64 << 20
        assert not process.children()


def decoder_processes() -> list[psutil.Process]:
    return [
        each for each in psutil.Process().children() if "breedclf.serving.decoding.decoder_process" in each.cmdline()
    ]


def test_what_takes_long_is_decoded_by_a_process_that_can_be_ended(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(model, Service(bounds=Bounds(decode_seconds=0.2))) as (url, _):
        expected = post(url + "/invocations", JPEG).json()
        assert decoder_processes() == []
        given_up = post(url + "/invocations", many_scans(80, (3000, 3000)))
        assert (given_up.status, given_up.json()["error"]["code"]) == (422, "TooCostly")
        monkeypatch.setattr(decoders, "LONG_WORK", 1)
        for _ in range(2):
            assert post(url + "/invocations", JPEG).json() == expected
            (child,) = decoder_processes()
            child.kill()
            child.wait()
        assert post(url + "/invocations", JPEG).status == 200
        damaged = post(url + "/invocations", JPEG[: len(JPEG) // 2])
        assert (damaged.status, damaged.json()["error"]["code"]) == (400, "BadImage")
    until(lambda: decoder_processes() == [])


def test_an_alarm_ends_a_decoder_and_another_takes_its_place() -> None:
    preprocessing = Preprocessing(resize_px=36, crop_px=32)
    heavy, light = many_scans(80, (3900, 3900)), encode(draw())  # just below what is refused at once
    process = DecoderProcess(preprocessing, Limits(), seconds=0.5)
    try:
        expected = preprocessing.view(draw(), 0)
        first = process.decode(encode(draw(), "PNG"))
        assert torch.equal(first, expected)
        pid = process.pid
        with pytest.raises(RequestError, match="couldn't be decoded within 0.5 s") as error:
            process.decode(heavy)
        assert error.value.status == 422
        assert process.decode(light).shape == (3, 32, 32)
        assert process.pid != pid
    finally:
        process.end(for_good=True)
    assert process.pid is None


def test_ping_fails_when_all_decoders_are_stuck(model: Path) -> None:
    """The threads hang in the engine; their images are given up, and /ping says 200 again once one is free."""
    gate = threading.Event()
    with running(model, Service(bounds=Bounds(decoders=1, decode_seconds=0.3))) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        decode = pipeline.engine.decode
        pipeline.engine.decode = lambda image: (gate.wait(60), decode(image))[1]  # type: ignore[method-assign]
        response = post(url + "/invocations", JPEG)
        assert (response.status, response.json()["error"]["code"]) == (422, "TooCostly")
        until(lambda: raw(url, b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503"))
        gate.set()
        until(lambda: raw(url, b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200"))
        assert post(url + "/invocations", JPEG).status == 200


STUCK = """
import sys, time
from breedclf.serving import server
from breedclf.serving.__main__ import main
from breedclf.serving.engines.engine import TorchEngine
from breedclf.serving.requests import Bounds
server.STUCK_SECONDS = 0.5
server._END_SECONDS = float(sys.argv.pop(1))
service = server.Service
server.Service = lambda **given: service(bounds=Bounds(decode_seconds=0.3), **given)
TorchEngine.decode = lambda self, image: time.sleep(120)
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def server_with_stuck_decoders(model: Path, end_seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = [sys.executable, "-c", STUCK, str(end_seconds), "serve", str(model), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "serving on" in line)
            yield process, line.rpartition(" ")[2].strip()
        finally:
            process.kill()


def ask_and_forget(url: str, count: int) -> None:
    def ask() -> None:
        with contextlib.suppress(Exception):
            post(url + "/invocations", JPEG)

    for _ in range(count):
        threading.Thread(target=ask, daemon=True).start()


def test_a_server_whose_decoders_are_all_stuck_ends(model: Path) -> None:
    with server_with_stuck_decoders(model, 3) as (process, url):
        ask_and_forget(url, 16)
        assert process.wait(PATIENCE_SECONDS) == 4


def test_sigterm_ends_a_server_whose_decoders_are_stuck(model: Path) -> None:
    with server_with_stuck_decoders(model, 2) as (process, url):
        ask_and_forget(url, 2)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_bodies_that_dont_come_keep_nobody_out(model: Path) -> None:
    service = Service(bounds=Bounds(max_pending=4, max_arriving=64))
    with running(model, service) as (url, _), open_connections(url, 60, head(5_000_000)):
        time.sleep(0.2)
        assert [post(url + "/invocations", JPEG).status for _ in range(8)] == [200] * 8


def test_where_too_many_bodies_arrive_the_first_gives_way(model: Path) -> None:
    service = Service(bounds=Bounds(max_arriving=8))
    with running(model, service) as (url, _), open_connections(url, 20, head(5_000_000)) as connections:
        assert connections[0].recv(4096).startswith(b"HTTP/1.1 408 ")
        assert post(url + "/invocations", JPEG).status == 200
        connections[-1].settimeout(0.3)
        with pytest.raises(TimeoutError):
            connections[-1].recv(4096)


def test_bytes_on_their_way_are_bounded(model: Path) -> None:
    service = Service(bounds=Bounds(max_arriving_bytes=8 << 20))
    said = head(5_000_000) + bytes(4_000_000)
    with running(model, service) as (url, _), open_connections(url, 6, said) as connections:
        until(lambda: any(_has_answer(each) for each in connections))
        assert post(url + "/invocations", JPEG).status == 200


def _has_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.02)
    with contextlib.suppress(TimeoutError):
        return connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    return False


def test_idle_connections_give_way_to_new_ones(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(model) as (url, server):
        monkeypatch.setattr(PatientProtocol, "most", 10)
        with open_connections(url, 30, b"GET /pi") as connections:
            assert post(url + "/invocations", JPEG).status == 200
            with contextlib.suppress(ConnectionResetError):
                assert connections[0].recv(10) == b""
            assert len(server.server_state.connections) <= 10


ODD_JSON = {
    "two million lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "numbers": b"[" + b"1," * 3_000_000 + b"1]",
    "strings": b"[" + b'"",' * 2_000_000 + b'""]',
    "keys": b"{" + b'"a":1,' * 1_000_000 + b'"a":1}',
    "deep lists": b"[" * 3_000_000,
    "deep instances": b'{"instances":' * 400_000,
    "UTF-16": ("[" + "[]," * 900_000 + "[]]").encode("utf-16"),
    "a long number": b'{"instances": ' + b"9" * 6_000_000 + b"}",
    "a long fraction": b'{"instances": 0.' + b"9" * 6_000_000 + b"}",
    "escapes": b'{"instances": "' + b"\\u00e9" * 1_000_000 + b'"}',
    "not base64": json.dumps({"instances": [{"b64": "%" * 6_000_000}]}).encode(),
}


@pytest.fixture(scope="module")
def server_alone(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    with serving_process(model) as started:
        yield started


def send_odd_json(url: str, name: str) -> None:
    response = post(url + "/invocations", ODD_JSON[name], "application/json")
    assert (response.status, response.json()["error"]["code"]) == (400, "MalformedJson")


@pytest.mark.parametrize("name", ODD_JSON)
def test_odd_json_costs_next_to_nothing(server_alone: tuple[str, psutil.Process], name: str) -> None:
    url, process = server_alone
    before = process.cpu_times()
    for _ in range(3):
        send_odd_json(url, name)
    after = process.cpu_times()
    assert (after.user + after.system - before.user - before.system) / 3 < 0.15


def test_ping_is_quick_while_odd_json_arrives(server_alone: tuple[str, psutil.Process]) -> None:
    """The quickest of three tries counts: a busy machine makes anything wait."""
    url, _ = server_alone
    assert min(slowest_ping(url, lambda: send_odd_json(url, "two million lists")) for _ in range(3)) < 0.3


def test_many_images_in_one_document_are_counted_not_parsed(server_url: str) -> None:
    body = json.dumps({"instances": [{"b64": base64.b64encode(JPEG[:30]).decode()}] * 50_000}).encode()
    response = post(server_url + "/invocations", body, "application/json")
    assert response.status == 413
    assert response.json()["error"]["message"] == "50000 images in one request; send at most 32"


def chunked(body: bytes, size: int, extension: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n\r\n"


def test_bodies_in_chunks(server_url: str) -> None:
    asked = head(None, "Transfer-Encoding: chunked", "Connection: close")
    assert statuses(raw(server_url, asked + chunked(JPEG, 100, b";name=value"))) == [200]
    refused = raw(server_url, asked + chunked(bytes(200_000), 1))
    assert statuses(refused) == [400]
    assert b"send larger chunks, or use Content-Length" in refused
    lines = base64.encodebytes(encode(draw(1, width=400, height=300), "PNG") * 9).replace(b"\n", b"\r\n")
    body = b'{"instances": [{"b64": "' + lines.replace(b"\r\n", b"\\r\\n") + b'"}]}\r\n'
    answer = raw(server_url, head(len(body), "Connection: close", kind="application/json") + body)
    assert statuses(answer) == [200], answer[:300]


@pytest.mark.parametrize(
    "request_",
    [
        head(5, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        b"POST /invocations HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head(5, "Content-Length: 6"),
        head(None, "Content-Length: 5, 6"),
        head(None, "Transfer-Encoding: gzip, chunked"),
        head(None, "Transfer-Encoding : chunked"),
        head(None, "Content-Length: +5"),
    ],
    ids=["both", "in HTTP/1.0", "two lengths", "two in one", "another coding", "a space", "a sign"],
)
def test_a_body_without_a_clear_end_is_refused_and_nothing_after_it_is_answered(
    server_url: str, request_: bytes
) -> None:
    smuggled = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(server_url, request_ + smuggled, seconds=4)
    assert statuses(answer) == [400], answer
    assert b"connection: close" in answer.lower()


def test_a_whole_url_as_target(server_url: str) -> None:
    host = server_url.removeprefix("http://")
    for target in (f"http://{host}/ping", f"HTTP://{host}/ping?x=1", f"http://{host}"):
        answer = raw(server_url, f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        assert statuses(answer) == [200], (target, answer[:300])
    asked = head(len(JPEG), "Connection: close", target=f"http://{host}/invocations?top=1")
    answer = raw(server_url, asked + JPEG)
    assert statuses(answer) == [200]
    assert answer.count(b'"label"') == 1
    foreign = raw(server_url, b"GET http://evil.example/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert statuses(foreign) == [421]
    assert b"'evil.example'" in foreign


def test_a_client_that_closed_its_side_gets_its_answer(server_url: str) -> None:
    for asked in (head(len(JPEG)) + JPEG, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(place_of(server_url), timeout=20) as connection:
            connection.sendall(asked)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
        assert statuses(answer) == [200], answer[:200]
    with socket.create_connection(place_of(server_url), timeout=20) as connection:
        connection.sendall((head(len(JPEG)) + JPEG) * 3)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    assert statuses(answer) == [200] * 3


def test_a_client_that_closed_its_side_too_early_is_let_go(server_url: str) -> None:
    for asked in (head(len(JPEG)) + JPEG[:50], b"GET /pi", b""):
        with socket.create_connection(place_of(server_url), timeout=5) as connection:
            connection.sendall(asked)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(65_536) == b""


@pytest.mark.parametrize("path", ["/ping", "/", "/about", "/page.js", "/nothing"])
def test_a_get_keeps_its_connection(server_url: str, path: str) -> None:
    connection = http.client.HTTPConnection(*place_of(server_url), timeout=20)
    connection.request("GET", path)
    first = connection.getresponse()
    first.read()
    used = connection.sock
    assert used is not None
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    assert connection.sock is used
    assert first.headers.get("Connection") != "close"
    connection.close()


def test_a_compressed_body_is_refused_with_the_remedy(server_url: str) -> None:
    response = post(server_url + "/invocations", b"\x1f\x8b\x08" + bytes(30), Content_Encoding="gzip")
    assert response.status == 415
    assert response.json()["error"]["message"].startswith(
        "Content-Encoding 'gzip' isn't supported; send the body uncompressed"
    )
    assert post(server_url + "/invocations", JPEG, Content_Encoding="identity").status == 200


def test_another_host_is_refused_with_its_name_and_the_remedy(server_url: str) -> None:
    message = post(server_url + "/invocations", JPEG, Host="dogs.example:81").json()["error"]["message"]
    assert "'dogs.example:81'" in message
    assert "--allow-host" in message
    assert "localhost" in message
    without = raw(server_url, b"GET /ping HTTP/1.0\r\n\r\n")
    assert b"the request has no Host header" in without


def test_a_deadline_holds_under_random_bytes(server_url: str) -> None:
    noise, limit = random.Random(5), under_load(5)
    for _ in range(20):
        started = time.monotonic()
        raw(server_url, struct.pack(">Q", noise.getrandbits(64)) * 2000 + b"\r\n\r\n", seconds=limit)
        assert time.monotonic() - started < limit


SIGTERM_CODES = {0, -signal.SIGTERM, EXIT_INTERRUPTED}  # before a line of Python has run; while a command is imported


@pytest.mark.parametrize(
    "words",
    [pytest.param(("breedclf.serving", "serve"), marks=pytest.mark.slow), ("breedclf", "serve")],
    ids=["module", "command"],
)
def test_sigterm_at_any_moment_of_the_start(model: Path, words: tuple[str, ...]) -> None:
    moments = (0.3, 1.0, 1.8, 2.4, 3.0)
    processes = []
    for wait in moments:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, str(model), "--port", "0"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        processes.append(process)
    for process in processes:
        said = process.communicate(timeout=PATIENCE_SECONDS)[1]
        assert process.returncode in SIGTERM_CODES, said
        assert "Traceback" not in said
        assert "terminate called" not in said


LOADING = """
import sys, threading, time
from breedclf.serving import server
from breedclf.serving.__main__ import main
def load(model, service):
    import torch
    print("loading", file=sys.stderr, flush=True)
    weights = torch.randn(1500, 1500)
    while True:
        weights = weights @ weights * 1e-3
server.load_pipeline = load
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_model_is_being_loaded(model: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-c", LOADING, "serve", str(model), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line == "loading\n" for line in process.stderr)
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == (0 if number == signal.SIGTERM else 130)
