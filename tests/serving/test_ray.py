"""The packed model under real Ray Serve, started as SageMaker's container starts it, and the replica without Ray.

`make test-ray` makes an environment with Ray and names its interpreter in BREEDCLF_RAY_PYTHON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
import yaml
from starlette.requests import Request

from breedclf.backends.common.model_archive import pack_model
from breedclf.inference.classifier import Classifier
from breedclf.serving.model_code import RAY_CONFIG, RAY_MODULE
from breedclf.serving.ray_replica import Replica
from tests.serving.conftest import draw, encode, post
from tests.waiting import until

RAY_PYTHON = os.environ.get("BREEDCLF_RAY_PYTHON")
PORT = 8000


@pytest.fixture(scope="module")
def packed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ray")
    with tarfile.open(pack_model(model, root / "model.tar.gz")) as tar:
        tar.extractall(root / "model", filter="data")
    return root / "model"


def test_the_archive_names_its_entry(packed: Path) -> None:
    (application,) = yaml.safe_load((packed / RAY_CONFIG).read_text())["applications"]
    assert application["import_path"] == f"{RAY_MODULE}:app"
    assert application["route_prefix"] == "/"
    assert "app = ImageClassifier.bind(" in (packed / f"{RAY_MODULE}.py").read_text()


@pytest.fixture
def ray_folder() -> Iterator[str]:
    """A folder with a short name: Ray's sockets lie in it, whose names have a limit."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield folder


def _request(method: str, path: str, body: bytes, kind: str) -> Request:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"top=2",
        "headers": [(b"content-type", kind.encode()), (b"host", b"127.0.0.1:8000")],
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)  # type: ignore[arg-type]


def test_a_replica_answers_as_the_server_does(model: Path) -> None:
    replica = Replica(str(model))
    image = encode(draw(2))

    async def ask() -> None:
        for path in ("/", "/invocations"):
            answer = await replica(_request("POST", path, image, "image/jpeg"))
            assert answer.status_code == 200
            labels = [each["label"] for each in json.loads(bytes(answer.body))["predictions"]]
            assert labels == [each.label for each in Classifier(model).predict(image).top(2)]
        refused = await replica(_request("POST", "/", b"no image", "image/jpeg"))
        assert (refused.status_code, json.loads(bytes(refused.body))["error"]["code"]) == (400, "BadImage")
        assert (await replica(_request("GET", "/ping", b"", "text/plain"))).status_code == 200
        await replica.check_health()

    asyncio.run(ask())
    replica._pipeline.close()


@pytest.mark.skipif(RAY_PYTHON is None, reason="needs Ray: make test-ray")
def test_ray_serves_it(packed: Path, model: Path, tmp_path: Path, ray_folder: str) -> None:
    assert RAY_PYTHON is not None
    programs = Path(RAY_PYTHON).parent
    environment = {**os.environ, "PYTHONPATH": str(packed), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": ray_folder}
    url = f"http://127.0.0.1:{PORT}"
    with (tmp_path / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            [programs / "serve", "run", str(packed / RAY_CONFIG)], env=environment, cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            image = encode(draw(2))

            def answers() -> bool:
                assert server.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
                try:
                    return post(url + "/", image).status == 200
                except urllib3.exceptions.HTTPError:
                    return False

            until(answers, 240)
            answer = post(url + "/", image, Accept="application/json")
            got = {each["label"]: each["probability"] for each in answer.json()["predictions"]}
            expected = Classifier(model).predict(image)
            assert got == pytest.approx({each.label: each.probability for each in expected.ranked}, abs=1e-3)
            refused = post(url + "/", image, "image/png")
            assert (refused.status, refused.json()["error"]["code"]) == (415, "UnsupportedMediaType")
        finally:
            server.terminate()
            server.wait(60)
