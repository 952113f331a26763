"""Endpoints in the console: their pages, a photo tried in a browser, and deletion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from breedclf import Deployment
from breedclf.api.endpoint import Endpoint
from breedclf.backends.registry import backend_named
from tests.console.running import Running, running_console
from tests.overview.test_endpoints import NOW, endpoint_in, line
from tests.serving.conftest import write_trusted_model


@dataclass(frozen=True)
class Served:
    """A console, and an endpoint that it shows."""

    running: Running
    endpoint: Endpoint


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    backend = backend_named("local", home=folder / "home")
    deployment = Deployment(write_trusted_model(folder / "model"), backend, name="dogs", ttl_seconds=3600)
    with deployment.deploy() as endpoint, running_console(folder) as running:
        yield Served(running, endpoint)


def test_the_pages_show_what_is_there(tmp_path: Path) -> None:
    endpoint_in(tmp_path / "home", "dogs", details={"engine": "<b>torch</b>"}, expires=NOW + 60).log_file.write_text(
        line(NOW)
    )
    endpoint_in(tmp_path / "home", "orphan", alive=False)
    broken = endpoint_in(tmp_path / "home", "broken")
    (broken.path / "endpoint.json").write_text("{<script>alert(1)</script>")
    with running_console(tmp_path) as running, running.client() as client:
        page = client.get("/endpoints").text
        assert all(name in page for name in ("dogs", "orphan", "broken", "Damaged", "InService", "1 of 3 in service"))
        assert "&lt;b&gt;torch&lt;/b&gt;" in client.get("/endpoints/dogs").text
        assert "its supervisor is gone" in client.get("/endpoints/orphan").text
        assert "is damaged" in client.get("/endpoints/broken").text
        assert client.get("/endpoints/none").status_code == 404
        assert client.get("/endpoints/..%2f..").status_code == 404
        names = [each["name"] for each in client.get("/api/endpoints").json()]
        assert sorted(names) == ["broken", "dogs", "orphan"]
