"""The packed artifact under SageMaker's real inference toolkit, in an interpreter that has no breedclf installed."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.common.model_archive import pack_model
from breedclf.errors import ArtifactError, ConfigError
from breedclf.inference.classifier import Classifier
from breedclf.serving import inference
from tests.serving.conftest import draw, encode

TOOLKIT = ("sagemaker-inference", "retrying", "scipy", "six")
SCRIPT = """
import importlib.util, json, sys, base64
assert importlib.util.find_spec("breedclf") is None, "breedclf must not be installed here"
model, requests = sys.argv[1], json.load(sys.stdin)
sys.path.insert(0, model + "/code")
from sagemaker_inference.transformer import Transformer

class Processor:
    def get_request_properties(self):
        return self.properties

class Context:
    def __init__(self):
        self.system_properties = {"model_dir": model}
        self.request_processor = [Processor()]
    def set_response_content_type(self, number, kind):
        self.kind = kind
    def set_response_status(self, code, phrase):
        self.status = code

context, transformer, answers = Context(), Transformer(), []
for request in requests:
    context.status, context.kind = 200, None
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": request["attributes"]} if request["attributes"] else {}
    properties = {"Content-Type": request["type"], "Accept": request["accept"], **attributes}
    context.request_processor[0].properties = properties
    body = transformer.transform([{"body": base64.b64decode(request["body"])}], context)[0]
    answers.append([context.status, context.kind, body if isinstance(body, str) else body.decode()])
import breedclf
assert breedclf.__file__.startswith(model), breedclf.__file__
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def packed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as SageMaker would unpack it."""
    root = tmp_path_factory.mktemp("packed")
    archive = pack_model(model, root / "model.tar.gz")
    with tarfile.open(archive) as tar:
        assert all(member.isfile() and member.mtime == member.uid == 0 for member in tar.getmembers())
        tar.extractall(root / "model", filter="data")
    return root / "model"


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with the toolkit, and with this one's libraries but breedclf."""
    uv = shutil.which("uv") or (importlib.util.find_spec("uv") and f"{Path(sys.executable).parent}/uv")
    if not uv:
        pytest.skip("uv is not here to make an environment with sagemaker-inference")
    home = tmp_path_factory.mktemp("toolkit") / "venv"
    python = home / "bin" / "python"
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "-q", "--no-deps", "--python", str(python), *TOOLKIT],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"sagemaker-inference can't be installed: {done.stderr[-300:]}")
    return str(python)


def test_the_real_toolkit_serves_it(packed: Path, toolkit: str, model: Path) -> None:
    images = [encode(draw(seed), "PNG") for seed in range(2)]
    several = json.dumps({"instances": [{"b64": base64.b64encode(each).decode()} for each in images]}).encode()
    asked = [
        (images[0], "image/png", "application/json"),
        (several, "application/json", "application/jsonlines"),
        (images[0], "image/jpeg", "application/json"),
        (images[0][:100], "image/png", "application/json"),
        (images[0], "image/png", "text/csv"),
        (b"\x93NUMPY", "application/x-npy", "application/json"),
        (images[1], "application/x-image", "*/*"),
        (images[0], "image/png", "application/json", "explain=1,class=W%C3%A9lsh%20%3CCorgi%3E"),
        (images[0], "image/png", "application/json", "explain=1,class=Foxx"),
        (several, "application/json", "application/json", "explain=1"),
    ]
    requests = [
        {"body": base64.b64encode(body).decode(), "type": kind, "accept": accept, "attributes": "".join(attributes)}
        for body, kind, accept, *attributes in asked
    ]
    done = subprocess.run(
        [toolkit, "-c", SCRIPT, str(packed)],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert [status for status, _, _ in answers] == [200, 200, 415, 400, 406, 415, 200, 200, 400, 400]
    assert [kind for _, kind, _ in answers][:2] == ["application/json", "application/jsonlines"]
    expected = Classifier(model).predict(images)
    for text, prediction in [(answers[0][2], expected[0]), *zip(answers[1][2].splitlines(), expected, strict=True)]:
        got = {each["label"]: each["probability"] for each in json.loads(text)["predictions"]}
        assert got == pytest.approx({each.label: each.probability for each in prediction.ranked}, abs=1e-4)
    explanation = json.loads(answers[7][2])["explanation"]
    assert explanation["score"] == pytest.approx(Classifier(model).explain(images[0], "Wélsh <Corgi>").score, abs=1e-4)
    assert "the nearest names are Fox" in answers[8][2]
    assert "one image per request, not 2" in answers[9][2]
    for status, _, text in answers:
        assert "Traceback" not in text
        assert status == 200 or set(json.loads(text)) == {"error", "request_id"}


def test_without_the_toolkits_context_an_error_is_raised() -> None:
    with pytest.raises(Exception, match="Content-Type 'text/csv' isn't supported"):
        inference.output_fn(inference.predict_fn(inference.input_fn(b"1,2", "text/csv"), _never()), "application/json")


def test_a_folder_without_a_model_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"it has no breedclf\.json"):
        pack_model(tmp_path, tmp_path / "model.tar.gz")


def test_wheels_come_along_for_an_endpoint_without_a_network(model: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("filelock", "Pillow", "platformdirs", "psutil", "pydantic", "safetensors"):
        (wheels / f"{name}-99-py3-none-any.whl").write_bytes(b"wheel")
    with pytest.raises(ConfigError, match="has no wheel for tqdm>=4.66; `pip download"):
        pack_model(model, tmp_path / "model.tar.gz", wheels=wheels)
    (wheels / "tqdm-99-py3-none-any.whl").write_bytes(b"wheel")
    with tarfile.open(pack_model(model, tmp_path / "model.tar.gz", wheels=wheels)) as tar:
        assert "code/wheels/Pillow-99-py3-none-any.whl" in tar.getnames()
        requirements = tar.extractfile("code/requirements.txt")
        assert requirements is not None
        lines = requirements.read().decode().splitlines()
    assert lines[:2] == ["--no-index", "--find-links wheels"]
    assert "tqdm>=4.66" in lines


def _never() -> Any:
    """A model that must not be used, since the request is refused before."""
    return None
