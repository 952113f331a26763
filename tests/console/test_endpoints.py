"""Endpoints in the console: their pages, a photo tried in a browser, and deletion."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from breedclf import Deployment
from breedclf.api.deployment import serving_backend
from breedclf.api.endpoint import Endpoint
from breedclf.backends.local.endpoint_folder import EndpointFolder
from breedclf.backends.registry import backend_named
from breedclf.cli import main
from breedclf.model_store.folder import StoreFolder
from breedclf.model_store.records import EndpointOfModel, ModelRecord
from tests.browser import Browser
from tests.console.running import Running, running_console
from tests.overview.test_endpoints import NOW, endpoint_in, line
from tests.serving.conftest import draw, encode, running as serving, write_tiny_model, write_trusted_model


@dataclass(frozen=True)
class Served:
    """A console, and the folder of an endpoint that it shows, whose requests this process answers."""

    running: Running
    folder: EndpointFolder
    endpoint: Endpoint


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    model = write_trusted_model(folder / "model")
    with serving(model) as (url, _), running_console(folder) as running:
        found = endpoint_in(folder / "home", "dogs", url=url)
        yield Served(running, found, Endpoint("dogs", serving_backend(running.console.overview("").backend)))


def test_the_pages_show_what_is_there(tmp_path: Path) -> None:
    endpoint_in(tmp_path / "home", "dogs", details={"engine": "<b>torch</b>"}, expires=NOW + 60).log_file.write_text(
        line(NOW)
    )
    endpoint_in(tmp_path / "home", "orphan", alive=False)
    broken = endpoint_in(tmp_path / "home", "broken")
    (broken.path / "endpoint.json").write_text("{<script>alert(1)</script>")
    served_by = EndpointOfModel(name="dogs", backend="local", version=3)
    with StoreFolder(tmp_path / "models").locked():
        StoreFolder(tmp_path / "models").save(ModelRecord(name="breeds", endpoint=served_by))
    with running_console(tmp_path) as running, running.client() as client:
        page = client.get("/endpoints").text
        assert '<a href="/models/breeds/3">breeds version 3</a>' in page
        assert all(name in page for name in ("dogs", "orphan", "broken", "Damaged", "InService", "1 of 3 in service"))
        assert "&lt;b&gt;torch&lt;/b&gt;" in client.get("/endpoints/dogs").text
        assert "its supervisor is gone" in client.get("/endpoints/orphan").text
        assert "is damaged" in client.get("/endpoints/broken").text
        assert client.get("/endpoints/none").status_code == 404
        assert client.get("/endpoints/..%2f..").status_code == 404
        names = [each["name"] for each in client.get("/api/endpoints").json()]
        assert sorted(names) == ["broken", "dogs", "orphan"]


def photo(folder: Path, seed: int = 5) -> Path:
    """An image that the endpoint's model knows (5) or doesn't (6)."""
    file = folder / f"rex{seed}.png"
    file.write_bytes(encode(draw(seed, width=640, height=480), "PNG"))
    return file


def text_of(page: Browser, name: str) -> str:
    found: str = page.run(f"document.getElementById('{name}').textContent")
    return found


def shown(page: Browser, served: Served) -> None:
    page.messages.clear()
    page.open(served.running.page("/endpoints/dogs"))
    page.until("document.getElementById('connection').textContent === 'live'")
    page.until("document.getElementById('status').textContent.startsWith('Ready')")


ANSWERED = "!document.getElementById('result').hidden"
OBJECT_URLS = """window.urls = new Set();
const { createObjectURL, revokeObjectURL } = URL;
URL.createObjectURL = (file) => { const url = createObjectURL.call(URL, file); urls.add(url); return url; };
URL.revokeObjectURL = (url) => { urls.delete(url); revokeObjectURL.call(URL, url); };"""


def test_an_image_is_chosen_classified_and_explained(served: Served, chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, served)
    chromium.run(OBJECT_URLS)
    chromium.run("document.getElementById('file').focus()")
    file = photo(tmp_path)
    chromium.choose("#file", file)
    chromium.until(ANSWERED)
    expected = served.endpoint.predict(file)
    rows = chromium.run("[...document.querySelectorAll('#ranked .class')].map(each => each.textContent)")
    assert rows == [each.class_name for each in expected.ranked]
    assert text_of(chromium, "result-heading") == expected.best.class_name
    assert ", within the limit of 0.0" in text_of(chromium, "status")
    chromium.run("document.getElementById('explain').click()")
    chromium.until("document.getElementById('map').naturalWidth > 0")
    assert expected.best.class_name in text_of(chromium, "map-words")
    chromium.choose("#file", photo(tmp_path, 6))
    chromium.until("document.getElementById('result-heading').textContent.startsWith('None of these')")
    assert ", beyond the limit of 0.0" in text_of(chromium, "status")
    assert chromium.run("urls.size") == 1, "the image before is freed"
    served.folder.log_file.write_text("".join(line(time.time() - 60 * each) for each in range(5)))
    chromium.until("document.getElementById('requests').textContent.includes('error rate')")
    assert chromium.run("document.querySelectorAll('#charts figure').length") == 2
    assert not chromium.run("document.getElementById('result').hidden"), "figures that change leave the answer alone"
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []


def test_an_image_is_dropped_and_what_is_none_is_refused(served: Served, chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, served)
    data = base64.b64encode(photo(tmp_path).read_bytes()).decode()
    script = """(() => {
      const bytes = Uint8Array.from(atob("%s"), (each) => each.charCodeAt(0));
      const held = new DataTransfer();
      held.items.add(new File([bytes], "%s", { type: "%s" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
    })()"""
    chromium.run(script % (data, "<b>rex</b>.png", "image/png"))
    chromium.until(ANSWERED)
    assert text_of(chromium, "name") == "<b>rex</b>.png"
    chromium.run(script % (base64.b64encode(b"0000ftypheic").decode(), "phone.heic", "image/heic"))
    chromium.until("document.getElementById('error').textContent !== ''")
    assert text_of(chromium, "error") == "Error: this browser can't read the file as an image."
    chromium.run(script % (base64.b64encode(b"no image").decode(), "dog.jpg", "image/jpeg"))
    chromium.until("document.getElementById('error').textContent.includes('the body')")
    assert chromium.run("document.getElementById('result').hidden")


@pytest.mark.slow
def test_an_endpoint_is_deleted_by_button_and_dialog(tmp_path: Path, chromium: Browser) -> None:
    backend = backend_named("local", home=tmp_path / "home")
    Deployment(write_tiny_model(tmp_path / "model"), backend, name="dogs", ttl_seconds=600).deploy()
    with running_console(tmp_path) as running:
        chromium.messages.clear()
        chromium.open(running.page("/endpoints/dogs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        chromium.choose("#file", photo(tmp_path))
        chromium.until(ANSWERED)
        chromium.until("document.getElementById('requests').textContent.includes('median latency')")
        button = "document.querySelector('[data-action=delete-endpoint]')"
        chromium.run(f"{button}.click()")
        assert "Delete dogs?" in text_of(chromium, "question-text")
        chromium.run("document.querySelector('#question [value=no]').click()")
        assert backend.describe_endpoint("dogs").status == "InService"
        chromium.run(f"{button}.click()")
        chromium.run("document.querySelector('#question [value=yes]').click()")
        chromium.until("location.pathname === '/endpoints'")
        chromium.until("document.getElementById('endpoints')?.textContent.includes('No endpoints')")
    assert backend.list_endpoints() == []
    assert [text for text in chromium.messages if not text.startswith("asked ")] == []


def test_requests_are_passed_on_with_their_limits_and_errors(served: Served) -> None:
    there = "/api/endpoints/dogs/invocations"
    jpeg = {"content-type": "image/jpeg"}
    body = encode(draw(5, width=640, height=480), "PNG")
    with served.running.client() as client:
        found = client.post(there, content=body, params={"top": "2"}, headers={"content-type": "image/png"})
        assert (found.status_code, len(found.json()["predictions"])) == (200, 2)
        mismatch = client.post(there, content=body, headers=jpeg)
        assert mismatch.status_code == 415
        assert mismatch.json()["error"]["message"].startswith("the body is PNG, not JPEG as in Content-Type image/jpeg")
        assert client.post(there, content=b"x" * ((6 << 20) + 1), headers=jpeg).status_code == 413
        assert client.post(there, content=b"x" * (13 << 20), headers=jpeg).status_code == 413
        assert client.post(there, content=b"", headers=jpeg).status_code == 400
        heic = client.post(there, content=b"\0\0\0\x18ftypheic", headers={"content-type": "image/heic"})
        assert (heic.status_code, "isn't supported" in heic.json()["error"]["message"]) == (415, True)
        unknown = client.post(there, content=body, params={"explain": "1", "class": "<b>"})
        assert "<b>" in unknown.json()["error"]["message"]
        too_long = client.post(there, content=body, params={"explain": "1", "class": "é" * 300}, headers=jpeg)
        assert (too_long.status_code, "1,024" in too_long.json()["error"]["message"]) == (400, True)
        gone = client.post("/api/endpoints/cats/invocations", content=body, headers=jpeg)
        assert (gone.status_code, "there is no endpoint 'cats'" in gone.json()["error"]["message"]) == (404, True)
        assert client.post("/api/endpoints/..%2fx/invocations", content=body, headers=jpeg).status_code == 404
        assert client.get("/api/endpoints/dogs/about").json()["distance"]["kept_share"] == 0.95
        assert client.get("/api/endpoints/cats/about").status_code == 404
    served.running.console.read_only = True
    try:
        with served.running.client() as client:
            assert client.post(there, content=body, headers=jpeg).status_code == 403
            page = client.get("/endpoints/dogs").text
    finally:
        served.running.console.read_only = False
    assert "data-endpoint" not in page
    assert "breedclf predict --endpoint dogs --backend local dog.jpg" in page


def test_a_server_that_says_nothing_and_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("breedclf.console.predicting.PREDICTION_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, running_console(tmp_path) as running:
        port = silent.getsockname()[1]
        endpoint_in(tmp_path / "home", "silent", url=f"http://127.0.0.1:{port}")
        endpoint_in(tmp_path / "home", "orphan", alive=False, url="http://127.0.0.1:1")
        with running.client() as client:
            late = client.post("/api/endpoints/silent/invocations", content=b"x")
            assert (late.status_code, "gave no answer within 0.3 s" in late.text) == (502, True)
            assert client.get("/api/endpoints/silent/about").json()["explains"] is True
            gone = client.post("/api/endpoints/orphan/invocations", content=b"x")
            assert (gone.status_code, "its supervisor is gone" in gone.text) == (502, True)
            deleted = client.post("/api/actions/delete-endpoint", json={"name": "orphan"})
            assert deleted.json() == {"done": "Deleted orphan", "next": "/endpoints"}
            assert client.post("/api/actions/delete-endpoint", json={"name": "orphan"}).status_code == 409
            assert [each["name"] for each in client.get("/api/endpoints").json()] == ["silent"]


def test_the_command_that_the_page_shows_does_the_same(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(served.folder.path.parent.parent))
    command = ["predict", "--endpoint", "dogs", "--backend", "local", str(photo(tmp_path)), "--json"]
    assert main(command) == 0
    by_command = json.loads(capsys.readouterr().out)[0]
    with served.running.client() as client:
        found = client.post("/api/endpoints/dogs/invocations", content=photo(tmp_path).read_bytes()).json()
    assert by_command["predictions"] == found["predictions"][:5]
