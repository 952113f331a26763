"""Deployments through the emulator: the uploaded archive's own code answers, in an interpreter without breedclf."""

from __future__ import annotations

import json
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier, Deployment
from breedclf.api.endpoint import Endpoint
from breedclf.backends.common.model_archive import pack_model
from breedclf.backends.emulator.faults import Fault
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.endpoints.expected_answers import expected_answers
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel, answers_uri
from breedclf.cli import main
from breedclf.errors import ArtifactError, BreedclfError, ConfigError, EndpointError, ModelError
from breedclf.jobs.endpoints import EndpointStatus
from breedclf.model_store.store import ModelStore
from tests.backends.sagemaker.contexts import ROLE, backend_at
from tests.serving.conftest import draw, encode, write_tiny_model

OWN = "123456789012.dkr.ecr.us-east-1.amazonaws.com/breeds:1"
TOOLKIT = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"
PICTURE = encode(draw(3))


@pytest.fixture
def backend(emulator: Emulator, bucket: str, tmp_path: Path) -> SageMakerBackend:
    return backend_at(emulator, bucket, tmp_path, serving_image=OWN)


@pytest.fixture
def endpoint(emulator: Emulator, backend: SageMakerBackend, model: Path) -> Iterator[Endpoint]:
    with Deployment(model, backend=backend, name="dogs").deploy() as deployed:
        yield deployed
        emulator.plane.faults.clear()
    assert left_over(backend) == []


def left_over(backend: SageMakerBackend) -> list[str]:
    """Remaining resources with breedclf's tag; other tests leave models on the emulator."""
    client = backend.clients("sagemaker")
    listed = [
        *((each["EndpointName"], each["EndpointArn"]) for each in client.list_endpoints()["Endpoints"]),
        *((e["EndpointConfigName"], e["EndpointConfigArn"]) for e in client.list_endpoint_configs()["EndpointConfigs"]),
        *((each["ModelName"], each["ModelArn"]) for each in client.list_models()["Models"]),
    ]
    tags = {name: {tag["Key"] for tag in client.list_tags(ResourceArn=arn)["Tags"]} for name, arn in listed}
    return [name for name, keys in tags.items() if "breedclf" in keys]


def holds_ray_config(archive: Path) -> bool:
    with tarfile.open(archive) as tar:
        return "config.yaml" in tar.getnames()


def best(model: Path) -> str:
    return Classifier(model).predict(PICTURE).best.label


class Traffic:
    """Asks without pause until it is left, and keeps every answer and every error."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.labels: list[str] = []
        self.errors: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(endpoint,)) for _ in range(2)]

    def _ask(self, endpoint: Endpoint) -> None:
        while not self._over.is_set():
            try:
                self.labels.append(endpoint.predict(PICTURE).best.label)
            except BreedclfError as error:
                self.errors.append(error)
            time.sleep(0.1)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
def test_the_life_of_an_endpoint(
    emulator: Emulator, endpoint: Endpoint, model: Path, other_model: Path, backend: SageMakerBackend
) -> None:
    """Answers, refusals, an update under traffic, one that fails its health check and one that answers wrongly."""
    assert endpoint.describe().generation == 1
    assert endpoint.predict(PICTURE).best.label == best(model) != best(other_model)
    with pytest.raises(ModelError) as error:
        backend.invoke_endpoint("dogs", b"not an image", content_type="image/jpeg")
    assert error.value.original_status_code == 400
    assert json.loads(error.value.original_message)["error"]["code"] == "BadImage"

    with Traffic(endpoint) as traffic:
        endpoint.update(other_model)
        time.sleep(0.5)
    assert traffic.errors == []
    assert {traffic.labels[0], traffic.labels[-1]} == {best(model), best(other_model)}

    emulator.plane.faults.add(Fault(operation="Endpoint", preset="health-check"))
    with Traffic(endpoint) as traffic, pytest.raises(EndpointError, match="update 3 was rolled back: .* ping health"):
        endpoint.update(model)
    assert traffic.errors == []
    assert set(traffic.labels) == {best(other_model)}
    assert (endpoint.status, endpoint.describe().generation) == (EndpointStatus.IN_SERVICE, 2)

    third = write_tiny_model(model.parent / "third", seed=3)
    with_answers_of_another(backend, third, of=model)
    with pytest.raises(EndpointError, match="update 4 was rolled back: sample image/jpeg: the server returns"):
        endpoint.update(third)
    assert endpoint.predict(PICTURE).best.label == best(other_model)
    assert Deployment.attach("dogs", backend=backend).describe().generation == 2


def with_answers_of_another(backend: SageMakerBackend, model: Path, *, of: Path) -> None:
    """Keep another model's right answers beside a model's archive, so that it will answer wrongly."""
    with ServedModel.packed(model, backend.uri("models")) as served:
        backend.storage.put(answers_uri(served.uri), expected_answers(of))


def test_errors_during_deployment_and_requests(
    emulator: Emulator, endpoint: Endpoint, backend: SageMakerBackend, model: Path
) -> None:
    for preset in ("throttling", "server-error", "unavailable", "lost"):
        emulator.plane.faults.add(Fault(operation="InvokeEndpoint", preset=preset, times=2))
        assert endpoint.predict(PICTURE).best.label == best(model), preset
    for preset in ("throttling", "unavailable", "lost"):
        emulator.plane.faults.add(Fault(operation="DescribeEndpoint", preset=preset, times=2))
        assert endpoint.status is EndpointStatus.IN_SERVICE, preset
    emulator.plane.faults.clear()
    emulator.plane.faults.add(Fault(operation="DescribeEndpoint", preset="access-denied"))
    with pytest.raises(BreedclfError, match="missing permission sagemaker:DescribeEndpoint"):
        endpoint.describe()
    with pytest.raises(ConfigError, match="'dogs' is taken"):
        Deployment(model, backend=backend, name="dogs").deploy()


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_refusal_leaves_nothing(emulator: Emulator, backend: SageMakerBackend, model: Path, operation: str) -> None:
    emulator.plane.faults.add(Fault(operation=operation, preset="quota"))
    with pytest.raises(EndpointError, match="an account quota"):
        Deployment(model, backend=backend, name="dogs").deploy()
    assert left_over(backend) == []


def test_a_container_that_never_answers(
    emulator: Emulator, backend: SageMakerBackend, model: Path, tmp_path: Path
) -> None:
    emulator.plane.faults.add(Fault(operation="Endpoint", preset="health-check"))
    with pytest.raises(EndpointError, match="endpoint dogs failed: .* ping health check.* CloudWatch"):
        Deployment(model, backend=backend, name="dogs").deploy()
    assert left_over(backend) == []
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in model.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ArtifactError):
        Deployment(damaged, backend=backend, name="dogs").deploy()
    assert left_over(backend) == []


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"serving_image": OWN, "serverless_memory_mb": 2048}, id="serverless", marks=pytest.mark.slow),
        pytest.param({"serving_image": TOOLKIT}, id="toolkit"),
        pytest.param({}, id="ray", marks=pytest.mark.slow),
    ],
)
def test_other_ways_to_serve(
    emulator: Emulator, bucket: str, tmp_path: Path, model: Path, settings: dict[str, Any]
) -> None:
    if not settings and not holds_ray_config(pack_model(model, tmp_path / "model.tar.gz")):
        pytest.skip("archives of models hold no config.yaml for Ray Serve yet")
    backend = backend_at(emulator, bucket, tmp_path, **settings)
    expected = Classifier(model).explain(PICTURE, "Wélsh <Corgi>").difference("Fox")
    with Deployment(model, backend=backend).deploy() as endpoint:
        assert endpoint.predict(PICTURE).best.label == best(model)
        found = endpoint.predict(PICTURE, explain=True, class_name="Wélsh <Corgi>", against="Fox")
        assert found.best.label == best(model)
        assert (found.explanation.class_name, found.explanation.other) == ("Wélsh <Corgi>", "Fox")
        assert found.explanation.score == pytest.approx(expected.score, abs=1e-3)
        with pytest.raises(ModelError, match="class='Foxx': the model has no such class; the nearest names are Fox"):
            endpoint.predict(PICTURE, explain=True, class_name="Foxx")
    assert left_over(backend) == []


def test_a_batch_transform(emulator: Emulator, backend: SageMakerBackend, model: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "sub folder").mkdir(parents=True)
    for number in range(5):
        draw(number).save(images / "sub folder" / f"{number}.png")
    (images / "broken.jpg").write_bytes(b"not an image")
    result = Deployment(model, backend=backend).transform(images, tmp_path / "out")
    assert (result.answered, list(result.failed)) == (5, ["broken.jpg"])
    lines = [json.loads(line) for line in result.predictions.read_text(encoding="utf-8").splitlines()]
    classifier = Classifier(model)
    for line in lines[1:]:
        assert line["predictions"][0]["label"] == classifier.predict(images / line["path"]).best.label
    operations = {each["operation"] for each in emulator.plane.faults.calls()}
    assert "CreateTransformJob" in operations
    assert "CreateEndpoint" not in operations
    assert left_over(backend) == []


def test_from_the_command_line(
    emulator: Emulator,
    backend: SageMakerBackend,
    bucket: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"ROLE": ROLE, "BUCKET": bucket, "ENDPOINT_URL": emulator.url, "POLL_SECONDS": "0.1", "SERVING_IMAGE": OWN}
    for name, value in {**given, "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"BREEDCLF_SAGEMAKER_{name}", value)
    there = ["--backend", "sagemaker"]
    assert main(["deploy", str(model), "--name", "dogs", "--ttl", "1", *there]) == 0
    draw(3).save(tmp_path / "dog.png")
    assert main(["predict", "--endpoint", "dogs", str(tmp_path / "dog.png"), *there]) == 0
    printed = capsys.readouterr().out
    assert "endpoint dogs is InService" in printed
    assert "--backend sagemaker" in printed, "the rollback is reported"
    assert main(["endpoints", "list", *there, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["status"]) == ("dogs", "InService")
    time.sleep(max(0.0, listed["expires"] - time.time()))
    assert main(["endpoints", "reap", *there]) == 0
    assert "deleted dogs" in capsys.readouterr().out
    assert left_over(backend) == []


def test_the_snippets_of_the_documentation_run(
    emulator: Emulator,
    backend: SageMakerBackend,
    bucket: str,
    model: Path,
    other_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).resolve().parents[3] / "docs/how-to/sagemaker-endpoints.md"
    snippets = re.findall(r"^```py\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name, value in {"ENDPOINT_URL": emulator.url, "POLL_SECONDS": "0.1", "SERVING_IMAGE": OWN}.items():
        monkeypatch.setenv(f"BREEDCLF_SAGEMAKER_{name}", value)
    for name, folder in (("dogs", model), ("better-dogs", other_model)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "model").symlink_to(folder)
    (tmp_path / "dog.jpg").write_bytes(PICTURE)
    monkeypatch.chdir(tmp_path)
    store = ModelStore("runs/models")
    store.promote("dogs", store.add(model, name="dogs").version)
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(snippet.replace("my-bucket", bucket), names)
    container = names["client"].describe_model(ModelName="dogs-1")["PrimaryContainer"]
    assert container["ModelPackageName"] == names["package"].arn
    names["client"].delete_model(ModelName="dogs-1")
    assert best(model) in capsys.readouterr().out
    assert left_over(backend) == []
