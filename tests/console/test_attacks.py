"""The console as an attacker meets it: foreign pages, other names, other users, odd requests, and markup everywhere."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from breedclf.console.guard import SECURITY_HEADERS, cookie_name
from breedclf.jobs import JobStatus
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import TOKEN, Running, add_job, running_console


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("console")
    add_job(folder, "dogs", epochs=2, log="epoch 1")
    add_job(folder, "busy", status=JobStatus.IN_PROGRESS)
    with running_console(folder) as started:
        yield started


@pytest.fixture
def foreign_site(running: Running) -> Iterator[str]:
    """The address of another server on this machine, whose page attacks the console."""
    page = f"""<!doctype html><body>
    <iframe id="frame" src="{running.url}/jobs"></iframe><img id="image" src="{running.url}/jobs">
    <form id="form" method="post" enctype="text/plain" action="{running.url}/api/actions/stop-job">
    <input name='{{"name": "busy", "x": "' value='"}}'></form>
    <script>
    window.seen = {{}};
    const url = "{running.url}";
    const json = {{ "Content-Type": "application/json" }};
    const body = JSON.stringify({{ name: "busy" }});
    const stop = url + "/api/actions/stop-job";
    const tries = {{
      read: fetch(url + "/api/jobs", {{ credentials: "include" }}).then((answer) => answer.text()),
      blind: fetch(stop, {{ method: "POST", mode: "no-cors", credentials: "include", body }}).then((a) => a.type),
      post: fetch(stop, {{ method: "POST", credentials: "include", headers: json, body }}).then((a) => a.text()),
      events: new Promise((done) => {{
        const source = new EventSource(url + "/events?target=/jobs", {{ withCredentials: true }});
        source.onopen = () => done("open");
        source.onerror = () => {{ source.close(); done("refused"); }};
      }}),
    }};
    for (const [name, each] of Object.entries(tries)) {{
      each.then((text) => {{ window.seen[name] = text; }}, () => {{ window.seen[name] = "refused"; }});
    }}
    </script>""".encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def test_a_foreign_page_on_this_machine_reads_nothing_and_does_nothing(
    running: Running, foreign_site: str, chromium: Browser
) -> None:
    chromium.open(running.page("/jobs"))  # the browser has the cookie now, also for other ports of this host
    chromium.until("document.getElementById('connection').textContent === 'live'")
    chromium.open(foreign_site)
    chromium.until("Object.keys(seen).length === 4")
    seen = chromium.run("seen")
    assert (seen["read"], seen["post"], seen["events"]) == ("refused", "refused", "refused")
    assert chromium.run("document.getElementById('image').naturalWidth") == 0
    assert chromium.run("document.getElementById('frame').contentDocument === null")
    chromium.run("document.getElementById('form').submit()")
    chromium.until("location.pathname === '/api/actions/stop-job'")
    assert "aren't answered" in chromium.run("document.body.innerText")
    folder = running.console.overview("").places.home / "jobs" / "busy"
    assert not (folder / "stop").exists()


def asked(running: Running, head: str, body: bytes = b"", *, wait: float = 10) -> str:
    """The answer to bytes as they are."""
    host = running.url.removeprefix("http://")
    with socket.create_connection(tuple(host.split(":")), timeout=wait) as connection:  # type: ignore[arg-type]
        connection.sendall(head.replace("HOST", host).replace("\n", "\r\n").encode("latin-1") + body)
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode("latin-1")


AUTHORIZED = f"Host: HOST\nAuthorization: Bearer {TOKEN}\nConnection: close\n\n"


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (421, f"GET /jobs HTTP/1.1\nHost: evil.example\nAuthorization: Bearer {TOKEN}\nConnection: close\n\n"),
        (421, f"GET /jobs HTTP/1.1\nHost: HOST.evil.example\nAuthorization: Bearer {TOKEN}\nConnection: close\n\n"),
        (421, f"GET /jobs HTTP/1.1\nHost: a@HOST\nAuthorization: Bearer {TOKEN}\nConnection: close\n\n"),
        (401, "GET /jobs HTTP/1.1\nHost: HOST\nConnection: close\n\n"),
        (401, "GET /static/any/console.js HTTP/1.1\nHost: HOST\nConnection: close\n\n"),
        (401, "GET /events?target=/jobs HTTP/1.1\nHost: HOST\nConnection: close\n\n"),
        (401, f"GET /jobs HTTP/1.1\nHost: HOST\nAuthorization: Bearer {TOKEN[:-1]}\nConnection: close\n\n"),
        (401, f"GET /jobs?token=x HTTP/1.1\n{AUTHORIZED}"),
        (401, "GET /jobs?token=%FF%00 HTTP/1.1\nHost: HOST\nConnection: close\n\n"),
        (401, "GET /jobs HTTP/1.1\nHost: HOST\nCookie: breedclf-console=\xff; ;;=\nConnection: close\n\n"),
        (404, f"GET /static/any/..%2fguard.py HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /static/any/../guard.py HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/..%2f..%2fhome HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/..%5c.. HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/%00 HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/%zz%ff%c3 HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/a%0d%0aSet-Cookie:x HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET //evil.example/jobs HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs/{'x' * 20_000} HTTP/1.1\n{AUTHORIZED}"),
        (400, f"GET /jobs/{'x' * 200_000} HTTP/1.1\n{AUTHORIZED}"),
        (400, f"GET /jobs HTTP/1.1\nX: {'x' * 200_000}\n{AUTHORIZED}"),
        (400, f"GET /jobs HTTP/1.1\nBad Header: x\n{AUTHORIZED}"),
        (404, f"GET /events?target=//evil/jobs HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /events?target=%2F%2F%5B HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /events?{'target=/jobs&' * 101} HTTP/1.1\n{AUTHORIZED}"),
        (404, f"GET /jobs?backend=other HTTP/1.1\n{AUTHORIZED}"),
        (200, f"GET /jobs?page=99999999999999999999&status=%00&words=%ff HTTP/1.1\n{AUTHORIZED}"),
        (200, f"HEAD /jobs HTTP/1.1\n{AUTHORIZED}"),
        (200, f"HEAD /events?target=/jobs HTTP/1.1\n{AUTHORIZED}"),
        (405, f"OPTIONS /jobs HTTP/1.1\n{AUTHORIZED}"),
        (405, f"TRACE /jobs HTTP/1.1\n{AUTHORIZED}"),
        (405, f"DELETE /jobs/dogs HTTP/1.1\n{AUTHORIZED}"),
        (405, f"GET /api/actions/stop-job HTTP/1.1\n{AUTHORIZED}"),
        (415, f"POST /api/actions/stop-job HTTP/1.1\nContent-Type: text/plain\nContent-Length: 0\n{AUTHORIZED}"),
        (400, f"POST /api/actions/stop-job HTTP/1.1\nContent-Type: application/json\nContent-Length: 0\n{AUTHORIZED}"),
    ],
    ids=lambda value: re.sub(r"x{9,}", "long", str(value).partition(" HTTP")[0])[:60],
)
def test_odd_requests_are_refused_and_disclose_nothing(running: Running, status: int, head: str) -> None:
    answer = asked(running, head)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer[:200]
    headers = answer.partition("\r\n\r\n")[0].lower()
    assert TOKEN not in answer
    assert "\r\nset-cookie" not in headers
    assert "server:" not in headers
    if status != 400:
        assert all(f"{name}: " in headers for name in SECURITY_HEADERS), headers


def test_a_body_of_any_size_is_read_only_up_to_a_limit(running: Running) -> None:
    with running.client() as client:
        body = b'{"name": "' + b"x" * (1 << 20) + b'"}'
        answer = client.post("/api/actions/stop-job", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        deep = client.post("/api/actions/stop-job", content=b"[" * 60_000, headers={"content-type": "application/json"})
        assert deep.status_code == 400


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [("/", "/"), ("//evil.example", "/evil.example"), ("/jobs%0d%0aX:y", "/jobs%0D%0AX%3Ay"), ("/%5cevil", "/%5Cevil")],
    ids=["start", "two slashes", "line break", "backslash"],
)
@pytest.mark.parametrize("site", ["none", "cross-site"])
def test_the_token_of_an_address_becomes_a_cookie_that_scripts_cannot_read(
    running: Running, path: str, leads_to: str, site: str
) -> None:
    navigation = f"Sec-Fetch-Site: {site}\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\n"
    answer = asked(running, f"GET {path}?token={TOKEN} HTTP/1.1\n{navigation}Host: HOST\nConnection: close\n\n")
    head, _, body = answer.partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0].split()[1] == ("303" if site == "none" else "200")
    cookie = next(line for line in lines if line.startswith("set-cookie: "))
    name = cookie_name(running.console.port)
    assert cookie == f"set-cookie: {name}={TOKEN}; HttpOnly; Path=/; SameSite=strict"
    assert f"location: {leads_to}" in lines if site == "none" else f'url={leads_to}"' in body
    assert "referrer-policy: no-referrer" in lines
    assert TOKEN not in body


def test_markup_and_control_characters_of_a_log_stay_text(tmp_path: Path) -> None:
    folder = add_job(tmp_path, "dogs")
    with running_console(tmp_path) as started, started.client() as client:

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.text(st.sampled_from("<>&\"'`/=\x00\x1b\x07\r\n\u2028\u202e{}%a-!"), max_size=60))
        def check(text: str) -> None:
            folder.log_file.write_text(f"epoch {text} 1", encoding="utf-8")
            page = client.get("/jobs/dogs", params={"words": text})
            assert page.status_code == 200
            assert read_page(page.text).tags == tags

        folder.log_file.write_text("epoch 1", encoding="utf-8")
        tags = read_page(client.get("/jobs/dogs").text).tags
        check()


def test_a_client_that_sends_its_headers_slowly_keeps_nobody_waiting(running: Running) -> None:
    host = running.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host[0], int(host[1]))) for _ in range(200)]
    try:
        for each in slow:
            each.sendall(b"GET /jobs HTTP/1.1\r\nX: ")
        with running.client() as client:
            assert client.get("/jobs").status_code == 200
    finally:
        for each in slow:
            each.close()


def test_another_console_has_another_cookie(running: Running) -> None:
    cookies = {cookie_name(running.console.port + 1): TOKEN}
    assert httpx2.get(f"{running.url}/jobs", cookies=cookies).status_code == 401
