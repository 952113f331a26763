"""Local endpoints: predictions, updates and crashes under load, and automatic deletion."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest

from breedclf import Classifier, Deployment, InlineBackend, LocalBackend
from breedclf.api.answers import explained_prediction_of
from breedclf.api.endpoint import Endpoint, file_of
from breedclf.api.transform import transform
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order, reason_to_end
from breedclf.cli import main
from breedclf.errors import (
    ArtifactError,
    BreedclfError,
    ConfigError,
    EndpointError,
    ImageError,
    ModelError,
    ParityError,
)
from breedclf.jobs.endpoints import EndpointSpec, EndpointStatus, EngineChoice, ServingBackend, artifact_of
from breedclf.serving.http.app import Service
from breedclf.serving.parity import check_parity, compare, sample_images
from tests.serving.conftest import draw, encode, running
from tests.waiting import under_load, until

JPEG = encode(draw(3))
RESTART_SECONDS = 60  # the bound that docs/how-to/serving.md states


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> LocalBackend:
    return LocalBackend(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def endpoint(backend: LocalBackend, model: Path) -> Iterator[Endpoint]:
    """One endpoint for the tests of this file that leave it as it was."""
    with Deployment(model, backend=backend, name="dogs").deploy() as deployed:
        yield deployed


def worker_of(endpoint: Endpoint) -> int:
    return int(endpoint.describe().details["worker"])


def same(one: object, other: object) -> bool:
    first = {each.label: each.probability for each in one.ranked}  # type: ignore[attr-defined]
    second = {each.label: each.probability for each in other.ranked}  # type: ignore[attr-defined]
    return first == pytest.approx(second, abs=1e-4)


def test_it_answers_as_the_classifier_whatever_is_given(endpoint: Endpoint, model: Path, tmp_path: Path) -> None:
    assert endpoint.status == "InService"
    classifier = Classifier(model)
    for name in ("dog.jpg", "dog.png", "dog.gif", "dog.bmp"):
        draw(4).save(tmp_path / name)
        assert same(endpoint.predict(tmp_path / name), classifier.predict(tmp_path / name)), name
    pixels = np.asarray(draw(5))
    for given in (JPEG, draw(5), pixels, pixels[:, :, 0], draw(5).convert("RGBA"), str(tmp_path / "dog.jpg")):
        assert same(endpoint.predict(given), classifier.predict(given)), type(given)
    assert [each.label for each in endpoint.predict(JPEG).top(3)] == [e.label for e in classifier.predict(JPEG).top(3)]


def test_an_image_by_its_address(endpoint: Endpoint, model: Path) -> None:
    class ImageSource(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/dog.jpg"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(JPEG if found else b"")

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), ImageSource) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            assert same(endpoint.predict(f"{url}/dog.jpg"), Classifier(model).predict(JPEG))
            with pytest.raises(ImageError, match="the server responded 404"):
                endpoint.predict(f"{url}/cat.jpg")
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(ImageError, match="can't be read"):
        endpoint.predict(f"{url}/dog.jpg")


def test_many_images_in_their_order(endpoint: Endpoint, model: Path) -> None:
    images = [encode(draw(seed), "PNG") for seed in range(20)]
    told: list[int] = []
    answers = endpoint.predict_many(images, progress=told.append)
    expected = Classifier(model).predict(images)
    assert all(same(one, other) for one, other in zip(answers, expected, strict=True))
    assert told == list(range(1, 21))
    mixed = endpoint.predict_many([JPEG, JPEG[:100], "nowhere.jpg"], on_error="return")
    assert [type(each).__name__ for each in mixed] == ["Prediction", "ModelError", "ImageError"]
    with pytest.raises(ModelError):
        endpoint.predict_many([JPEG, JPEG[:100]])


def test_a_refusal_has_the_services_shape(endpoint: Endpoint) -> None:
    with pytest.raises(ModelError, match="the model server responded with 400: .*BadImage") as error:
        endpoint.predict(JPEG[:200])
    assert error.value.status_code == 424
    assert error.value.original_status_code == 400
    assert json.loads(error.value.original_message)["error"]["code"] == "BadImage"


def test_an_endpoint_explains(endpoint: Endpoint, model: Path) -> None:
    expected = Classifier(model).explain(JPEG, "Wélsh <Corgi>")
    found = endpoint.predict(JPEG, explain=True, class_name="003.Wélsh <Corgi>")
    plain = endpoint.predict(JPEG)
    assert [each.label for each in found.ranked] == [each.label for each in plain.ranked]
    assert found.best.probability == pytest.approx(plain.best.probability, abs=1e-4)
    explanation = found.explanation
    assert explanation.class_name == expected.class_name == "Wélsh <Corgi>"
    assert explanation.values == pytest.approx(expected.values, abs=1e-4)
    assert explanation.score == pytest.approx(expected.score, abs=1e-4)
    assert explanation.image().size == expected.image().size
    assert endpoint.predict(JPEG, explain=True, class_name="Fox", against="Beagle").explanation.other == "Beagle"
    with pytest.raises(ModelError, match="400: .*class='Foxx': the model has no such class; the nearest names are Fox"):
        endpoint.predict(JPEG, explain=True, class_name="Foxx")


def test_what_cant_be_explained(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="class_name and against choose what to explain: pass explain=True, too"):
        endpoint.predict(JPEG, class_name="Fox")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="take 1,816 characters in a request, of at most 1,024"):
        endpoint.predict(JPEG, explain=True, class_name="é" * 300)
    answer = b'{"predictions": [{"class_name": "Fox", "label": "006.Fox", "probability": 1.0}]%s}'
    with pytest.raises(EndpointError, match="sent no explanation: its breedclf is older than this one; deploy the"):
        explained_prediction_of(answer % b"")
    for broken in (b"7", b"{}", b'{"values": [["x"]]}'):
        with pytest.raises(EndpointError, match="sent an explanation that can't be read"):
            explained_prediction_of(answer % b', "explanation": %s' % broken)


def test_what_cant_be_sent() -> None:
    with pytest.raises(ImageError, match="nowhere.jpg can't be read: No such file"):
        file_of("nowhere.jpg")
    with pytest.raises(ImageError, match="not float64"):
        file_of(np.zeros((3, 3)))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="not NoneType"):
        file_of(None)  # type: ignore[arg-type]
    noise = np.random.default_rng(0).integers(0, 256, (1800, 2400, 3), dtype=np.uint8)
    assert len(file_of(noise)) < 6 << 20


def test_any_process_attaches_by_name(endpoint: Endpoint, backend: LocalBackend) -> None:
    again = Deployment.attach("dogs", backend=LocalBackend(backend.home))
    assert again.predict(JPEG) == endpoint.predict(JPEG)
    with pytest.raises(EndpointError, match="there is no endpoint 'cats' in .*endpoints; .*BREEDCLF_HOME"):
        Deployment.attach("cats", backend=backend)


def test_a_name_is_deployed_once(endpoint: Endpoint, backend: LocalBackend, model: Path) -> None:
    with pytest.raises(ConfigError, match="endpoint name 'dogs' is taken; update that endpoint, delete it"):
        Deployment(model, backend=backend, name="dogs").deploy()
    assert endpoint.predict(JPEG).ranked


@pytest.mark.slow
def test_an_update_under_traffic_fails_no_request(
    endpoint: Endpoint, model: Path, other_model: Path, tmp_path: Path
) -> None:
    old, new = Classifier(model).predict(JPEG), Classifier(other_model).predict(JPEG)
    assert not same(old, new)
    stop, wrong, answers = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = endpoint.predict(JPEG)
                answers.append("old" if same(answer, old) else "new" if same(answer, new) else "neither")
            except BreedclfError as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        endpoint.update(other_model)
        last_update = len(answers)
        until(lambda: answers[-1] == "new" and len(answers) > last_update)
        broken = tmp_path / "broken"
        shutil.copytree(model, broken)
        with (broken / "model.safetensors").open("r+b") as file:
            file.seek(-500, os.SEEK_END)
            file.write(b"\1\2\3\4")
        with pytest.raises(EndpointError, match="was rolled back: .* is damaged or was replaced"):
            endpoint.update(broken)
        assert endpoint.describe().status is EndpointStatus.IN_SERVICE
        assert endpoint.describe().rolled_back
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert set(answers) == {"old", "new"}
    assert same(endpoint.predict(JPEG), new)
    endpoint.update(model)
    assert not endpoint.describe().rolled_back
    assert same(endpoint.predict(JPEG), old)


def test_a_killed_worker_comes_back_and_no_answer_is_wrong(endpoint: Endpoint, model: Path) -> None:
    expected, limit = Classifier(model).predict(JPEG), under_load(RESTART_SECONDS)
    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(endpoint.predict(JPEG, timeout=2 * limit))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until(lambda: answers)
        before, killed = worker_of(endpoint), time.monotonic()
        os.kill(before, signal.SIGKILL)
        answered = len(answers)
        until(lambda: worker_of(endpoint) != before and len(answers) > answered + 1, limit)
        seconds = time.monotonic() - killed
    finally:
        stop.set()
        thread.join()
    assert seconds < limit
    assert all(same(answer, expected) for answer in answers)
    assert endpoint.describe().details["restarts"] == 1


def test_transform_goes_on_where_it_was(endpoint: Endpoint, model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    (folder / "more").mkdir(parents=True)
    for number in range(3):
        draw(number).save(folder / "more" / f"{number}.jpg")
    (folder / "broken.png").write_bytes(b"no image")
    run = partial(transform, lambda: nullcontext(endpoint), model, folder, out, concurrency=4)
    result = run(top=2, progress=None)
    assert (result.answered, list(result.failed)) == (3, ["broken.png"])
    lines = [json.loads(line) for line in result.predictions.read_text().splitlines()]
    assert [line["path"] for line in lines] == ["broken.png", "more/0.jpg", "more/1.jpg", "more/2.jpg"]
    assert len(lines[1]["predictions"]) == 2
    assert len(result.table.read_text().splitlines()) == 1 + 1 + 3 * 2

    result.predictions.write_text("".join(json.dumps(line) + "\n" for line in lines[:3]) + '{"path": "more/2')
    (folder / "broken.png").write_bytes(encode(draw(9), "PNG"))
    told: list[tuple[int, int]] = []
    again = run(top=2, progress=lambda done, of: told.append((done, of)))
    assert (again.answered, again.failed, told) == (4, {}, [(3, 4), (4, 4)])
    with pytest.raises(ConfigError, match="contains predictions with another top"):
        run(top=3, progress=None)


def test_nobody_can_forget_an_endpoint(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint of a script that is killed goes with it."""
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path))
    script = f"""
import time
from breedclf import Deployment
Deployment({str(model)!r}, name="orphan").deploy(wait=False)
print("up", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "up\n"
        backend = LocalBackend()
        until(lambda: backend.describe_endpoint("orphan").details.get("worker"))
        worker = psutil.Process(backend.describe_endpoint("orphan").details["worker"])
        process.kill()
        process.wait()
    until(lambda: not backend.list_endpoints() and not worker.is_running())


def test_the_command_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    draw(2).save(tmp_path / "dog.jpg")
    assert main(["deploy", str(model), "--name", "shell", "--ttl", "300", "--json"]) == 0
    deployed = json.loads(capsys.readouterr().out)
    assert (deployed["endpoint"], deployed["status"]) == ("shell", "InService")
    assert deployed["url"].startswith("http://127.0.0.1:")
    assert main(["predict", "--endpoint", "shell", str(tmp_path / "dog.jpg"), "--json", "--top", "2"]) == 0
    by_endpoint = json.loads(capsys.readouterr().out)
    assert main(["predict", str(model), "--top", "2", str(tmp_path / "dog.jpg"), "--json"]) == 0
    assert (
        by_endpoint[0]["predictions"][0]["label"] == json.loads(capsys.readouterr().out)[0]["predictions"][0]["label"]
    )
    assert len(by_endpoint[0]["predictions"]) == 2
    assert main(["endpoints", "list", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["shell"]

    supervisor = json.loads((tmp_path / "home/endpoints/shell/endpoint.json").read_text())["supervisor"]["pid"]
    worker = psutil.Process(LocalBackend().describe_endpoint("shell").details["worker"])
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert main(["predict", "--endpoint", "shell", str(tmp_path / "dog.jpg")]) == 4
    assert "its supervisor is gone" in capsys.readouterr().err
    assert main(["endpoints", "reap"]) == 0
    assert "deleted shell" in capsys.readouterr().out
    assert main(["endpoints", "delete", "shell"]) == 4
    assert "there is no endpoint 'shell'" in capsys.readouterr().err


def test_a_port_that_is_taken_and_a_folder_without_a_model(backend: LocalBackend, model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EndpointError, match=f"can't listen on port {port}: Address already in use"):
            Deployment(model, backend=backend, name="taken", port=port).deploy()
    with pytest.raises(EndpointError, match="there is no endpoint 'taken'"):
        backend.describe_endpoint("taken")
    with pytest.raises(ArtifactError, match=r"is not a breedclf model: it has no breedclf\.json"):
        Deployment(tmp_path, backend=backend).deploy()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "no spaces"}, "use letters, digits and hyphens"),
        ({"name": "../x"}, "use letters, digits and hyphens"),
        ({"ttl_seconds": 0}, "ttl_seconds=0: give an endpoint more than 0 seconds"),
        ({"idle_timeout": -1}, "idle_seconds=-1"),
        ({"port": 70_000}, "port=70000: choose one from 1 to 65535"),
        ({"backend": 3}, "serves no models; use LocalBackend()"),
        ({"backend": "cloud"}, "choose emulator, inline, local, sagemaker"),
    ],
)
def test_orders_that_make_no_sense(model: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Deployment(model, **values)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_what_holds_a_model(model: Path) -> None:
    assert artifact_of(str(model)) == artifact_of(Classifier(model)) == model
    with pytest.raises(ConfigError, match="not int"):
        artifact_of(3)


def test_both_back_ends_of_this_machine_serve(tmp_path: Path) -> None:
    assert isinstance(LocalBackend(tmp_path), ServingBackend)
    assert isinstance(InlineBackend(tmp_path), ServingBackend)


def test_when_an_endpoint_must_go() -> None:
    order = Order("x", 1, created=100, expires=200, idle_seconds=30, parent=None, port=0)
    ends = {"now": 150.0, "last_activity": 149.0, "is_parent_alive": True}
    assert reason_to_end(order, **ends) is None  # type: ignore[arg-type]
    assert "deleted" in str(reason_to_end(None, **ends))  # type: ignore[arg-type]
    assert "ttl" in str(reason_to_end(order, **{**ends, "now": 200.0}))  # type: ignore[arg-type]
    assert "30 seconds" in str(reason_to_end(order, **{**ends, "last_activity": 119.0}))  # type: ignore[arg-type]
    assert "has ended" in str(reason_to_end(order, **{**ends, "is_parent_alive": False}))  # type: ignore[arg-type]


def test_an_endpoint_ends_with_its_time(backend: LocalBackend, model: Path) -> None:
    backend.create_endpoint(EndpointSpec("short", model, ttl_seconds=1.5))
    until(lambda: all(each.name != "short" for each in backend.list_endpoints()))
    assert not EndpointFolder(backend.home / "endpoints" / "short").path.exists()


def test_parity_holds_for_a_server_and_not_for_another_models(model: Path, other_model: Path) -> None:
    with running(model, Service(engine=EngineChoice(precision="fp32"))) as (url, server):
        check_parity(url, model)
        with pytest.raises(ParityError, match="the deployment is refused"):
            check_parity(url, other_model)
        pipeline = server.service.pipeline
        assert pipeline is not None
        right = pipeline.engine.reference()
        pipeline.engine.card = pipeline.engine.card.replace(
            preprocessing=pipeline.engine.card.preprocessing.replace(resize_px=64)
        )
        with pytest.raises(ParityError, match="sample image/"):
            check_parity(url, model, reference=right)
    prediction = Classifier(model).predict(sample_images()[0][1])
    with pytest.raises(ParityError, match="got 0 predictions for 1 images"):
        compare("x", "", [prediction], 1.0)
