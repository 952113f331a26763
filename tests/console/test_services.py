"""Services beside this machine: an emulator that comes and goes, expired credentials, and answers that take long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from breedclf.backends.emulator.server import emulator
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.registry import backend_named
from breedclf.cli.console import Folders, overviews_of
from breedclf.overview.overview import Overview, places_of
from tests.console.running import Running, add_job, running_console
from tests.waiting import PATIENCE_SECONDS

ROLE = "arn:aws:iam::111122223333:role/breedclf"


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine, and keys in a file that a test writes."""
    for variable in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def overview_of(name: str, folder: Path, **options: object) -> Overview:
    backend = backend_named(name, home=folder / "home", **options)
    return Overview(backend, places_of(backend, home=None, runs=folder / "runs", store=folder / "models"))


def until_shown(running: Running, text: str, backend: str) -> None:
    """Follow the list of jobs of a backend until an event has the text."""
    with (
        running.client() as client,
        client.stream("GET", "/events", params={"target": f"/jobs?backend={backend}"}) as events,
    ):
        deadline = time.monotonic() + PATIENCE_SECONDS
        for line in events.iter_lines():
            if line.startswith("data: {") and text in json.dumps(json.loads(line[6:]).get("changed", "")):
                return
            assert time.monotonic() < deadline, text


def until_answered(client: httpx2.Client, backend: str) -> None:
    """Ask for the list of jobs of a backend until it has no problem."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while 'id="problem" class="fragment"></section>' not in client.get("/jobs", params={"backend": backend}).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_emulator_is_found_shown_as_such_missed_when_it_ends_and_found_again(tmp_path: Path) -> None:
    add_job(tmp_path, "dogs")
    emulated = overview_of("emulator", tmp_path)
    local = LocalBackend(tmp_path / "home", gpus=())
    assert emulated.label == "emulator"
    with running_console(tmp_path, others={"emulator": emulated}) as running, running.client() as client:
        until_shown(running, "sagemaker emulate", "emulator")
        with emulator(local):
            until_answered(client, "emulator")
        until_shown(running, "sagemaker emulate", "emulator")
        assert "dogs" in client.get("/jobs").text
        with emulator(local):  # with another port and other keys
            until_answered(client, "emulator")


def test_sagemaker_at_the_address_of_an_emulator_is_shown_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    names, folders = ["local", "sagemaker"], Folders(tmp_path, tmp_path, tmp_path)
    assert list(overviews_of(names, folders)) == ["local", "sagemaker"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert list(overviews_of([*names, "emulator"], folders)) == ["local", "emulator"]


@contextmanager
def service(answer: Callable[[str], tuple[int, dict[str, object]]]) -> Iterator[str]:
    """A service over HTTP: `answer` gives status and document for the Authorization header of a call."""

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, document = answer(self.headers["authorization"])
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def write_keys(folder: Path, key: str) -> None:
    text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
    (folder / "credentials").write_text(text, encoding="utf-8")


def test_expired_credentials_are_shown_with_what_to_do_and_new_ones_are_used(tmp_path: Path) -> None:
    def answer(authorization: str) -> tuple[int, dict[str, object]]:
        if "AKIANEW" in authorization:
            return 200, {"Results": []}
        return 400, {"__type": "ExpiredTokenException", "message": "The token has expired"}

    write_keys(tmp_path, "AKIAOLD")
    add_job(tmp_path, "dogs")
    with service(answer) as url:
        options = {"role": ROLE, "region": "us-east-1", "endpoint_url": url, "poll_seconds": 0.2}
        overview = overview_of("sagemaker", tmp_path, **options)
        with running_console(tmp_path, others={"sagemaker": overview}) as running, running.client() as client:
            until_shown(running, "aws sso login", "sagemaker")
            assert "dogs" in client.get("/jobs").text
            write_keys(tmp_path, "AKIANEW")
            until_answered(client, "sagemaker")


def test_a_service_that_does_not_answer_keeps_neither_other_pages_nor_the_end_waiting(tmp_path: Path) -> None:
    answered = threading.Event()

    def answer(_: str) -> tuple[int, dict[str, object]]:
        answered.wait(PATIENCE_SECONDS)
        return 200, {"Results": []}

    write_keys(tmp_path, "AKIAKEY")
    add_job(tmp_path, "dogs")
    with service(answer) as url:
        overview = overview_of("sagemaker", tmp_path, role=ROLE, region="us-east-1", endpoint_url=url)
        with running_console(tmp_path, others={"sagemaker": overview}) as running, running.client() as client:
            waiting = client.get("/jobs/birds?backend=sagemaker")
            assert waiting.status_code == 503
            assert "answered yet" in waiting.text
            assert "dogs" in client.get("/jobs").text
            assert client.get("/static/any/console.js").status_code == 200
        answered.set()
