"""Explanations over HTTP: what they hold, what is refused, and that other requests don't wait for them."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf.explanations.explainer import Explainer
from breedclf.inference.classifier import Classifier
from breedclf.serving.core import RequestError
from breedclf.serving.engines.engine import Engine
from breedclf.serving.explaining import ExplanationRequest, requested_explanation
from breedclf.serving.http.app import Service
from breedclf.serving.requests import Bounds
from tests.serving.conftest import draw, encode, post, running
from tests.serving.test_server import JPEG, TOKEN, get, refusal
from tests.waiting import until

PNG = encode(draw(7), "PNG")
EXPLAIN = "/invocations?explain=1"


@pytest.mark.parametrize(
    ("query", "attributes", "expected"),
    [
        ("", None, None),
        ("top=3", "trace-1234", None),
        ("explain=0", None, None),
        ("explain=0", "explain=1", None),
        ("explain=1", None, ExplanationRequest()),
        ("top=3&explain=true&class=W%C3%A9lsh+%3CCorgi%3E", None, ExplanationRequest("Wélsh <Corgi>")),
        (
            None,
            "top=3,explain=1,class=W%C3%A9lsh%20%3CCorgi%3E,against=Fox",
            ExplanationRequest("Wélsh <Corgi>", "Fox"),
        ),
        (None, "explain=1;class=a%2Cb", ExplanationRequest("a,b")),
        ("explain=1&class=Fox&class=Beagle", "class=Dhole", ExplanationRequest("Fox")),
    ],
)
def test_what_a_request_asks_for(
    query: str | None, attributes: str | None, expected: ExplanationRequest | None
) -> None:
    assert requested_explanation(query, attributes) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("explain=yes", "explain='yes' must be 1 or 0"),
        ("explain=", "explain='' must be 1 or 0"),
        ("class=Fox", "add explain=1"),
        ("explain=0&against=Fox", "add explain=1"),
        ("&".join(["a=1"] * 101), "more than 100 parameters"),
    ],
    ids=["a-word", "nothing", "no-explain", "explain-off", "many"],
)
def test_what_makes_no_sense_is_refused(query: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        requested_explanation(query, None)
    assert (caught.value.status, caught.value.code) == (400, "BadParameter")


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/any-name/invocations"])
def test_the_explanation_is_the_classifiers(trusted_url: str, trusted_model: Path, path: str) -> None:
    response = post(f"{trusted_url}{path}?explain=1&top=2", PNG, "image/png")
    assert response.status == 200, response.data
    document = response.json()
    given, expected = document["explanation"], Classifier(trusted_model).explain(PNG)
    assert given["class_name"] == expected.class_name == document["predictions"][0]["class_name"]
    assert len(document["predictions"]) == 2
    assert document["distance"] == pytest.approx(expected.prediction.distance, abs=1e-5)
    assert (given["method"], given["exact"]) == ("class activation map", True)
    assert np.array(given["values"]) == pytest.approx(expected.values, abs=1e-5)
    assert np.sum(given["values"]) + given["bias"] == pytest.approx(given["score"], abs=1e-4)
    assert given["border_share"] == pytest.approx(expected.border_share, abs=1e-4)
    with Image.open(BytesIO(base64.b64decode(given["png"]))) as shown:
        assert (shown.format, shown.size) == ("PNG", (64, 64))
        assert np.abs(np.asarray(shown, int) - np.asarray(expected.image(), int)).max() <= 2


def test_an_approximation_is_named_so(server_url: str) -> None:
    given = post(server_url + EXPLAIN, PNG, "image/png").json()["explanation"]
    assert (given["method"], given["exact"]) == ("Grad-CAM", False)


def test_a_class_and_what_it_is_compared_with(trusted_url: str, trusted_model: Path) -> None:
    expected = Classifier(trusted_model).explain(PNG, "Beagle")
    own = post(f"{trusted_url}{EXPLAIN}&class=002.Beagle", PNG, "image/png").json()["explanation"]
    assert own["class_name"] == "Beagle"
    assert own["score"] == pytest.approx(expected.score, abs=1e-4)
    query = "&class=Beagle&against=W%C3%A9lsh%20%3CCorgi%3E"
    both = post(trusted_url + EXPLAIN + query, PNG, "image/png").json()["explanation"]
    difference = expected.difference("Wélsh <Corgi>")
    assert (both["class_name"], both["other"]) == ("Beagle", "Wélsh <Corgi>")
    assert np.array(both["values"]) == pytest.approx(difference.values, abs=1e-5)
    assert both["score"] == pytest.approx(difference.score, abs=1e-4)


def test_custom_attributes_ask_for_it_too(server_url: str) -> None:
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "explain=1,class=Fox,top=1"}
    document = post(server_url + "/invocations", PNG, "image/png", **headers).json()
    assert document["explanation"]["class_name"] == "Fox"
    assert len(document["predictions"]) == 1


def test_one_image_in_json_is_explained_and_two_are_not(server_url: str) -> None:
    one, two = (
        json.dumps({"instances": [{"b64": base64.b64encode(PNG).decode()}] * count}).encode() for count in (1, 2)
    )
    assert "explanation" in post(server_url + EXPLAIN, one, "application/json").json()
    status, code, message = refusal(post(server_url + EXPLAIN, two, "application/json"))
    assert (status, code) == (400, "BadParameter")
    assert "one image per request, not 2" in message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("class=Beagel", "class='Beagel': the model has no such class; the nearest names are Beagle"),
        ("class=Fox&against=Beagel", "against='Beagel': the model has no such class; the nearest names are Beagle"),
        ("class=", "class='': the model has no such class"),
        ("class=%0d%0aX-Evil:%201", "the model has no such class"),
        (f"class={'x' * 5000}", "class has 5,000 characters: the model has no such class"),
        ("class=Fox&against=006.Fox", "class and against are both 'Fox'"),
    ],
    ids=["unknown", "unknown-other", "empty", "line-break", "long", "twice"],
)
def test_classes_that_do_not_exist(server_url: str, query: str, message: str) -> None:
    status, code, found = refusal(post(f"{server_url}{EXPLAIN}&{query}", PNG, "image/png"))
    assert (status, code) == (400, "BadParameter")
    assert message in found


def test_the_best_class_is_not_compared_with_itself(server_url: str, model: Path) -> None:
    best = Classifier(model).predict(PNG).best.label
    found = refusal(post(f"{server_url}{EXPLAIN}&against={best}", PNG, "image/png"))
    assert found[:2] == (400, "BadParameter")
    assert "is the most probable class itself" in found[2]


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (JPEG[: len(JPEG) // 2], "image/jpeg", {}, 400),
        (encode(Image.new("1", (9000, 9000)), "PNG"), "image/png", {}, 422),
        (b"\xff\xd8\xff" + bytes(7 << 20), "image/jpeg", {}, 413),
        (JPEG, "image/jpeg", {"Host": "evil.example"}, 421),
        (JPEG, "image/jpeg", {"Accept": "image/png"}, 406),
    ],
    ids=["damaged", "pixels", "bytes", "host", "accept"],
)
def test_the_limits_are_those_of_predictions(
    server_url: str, body: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    assert refusal(post(server_url + EXPLAIN, body, kind, **headers))[0] == status


def test_a_token_keeps_others_out_here_too(model: Path) -> None:
    with running(model, Service(token=TOKEN)) as (url, _):
        assert refusal(post(url + EXPLAIN, PNG, "image/png"))[:2] == (401, "Unauthorized")
        assert post(url + EXPLAIN, PNG, "image/png", Authorization=f"Bearer {TOKEN}").status == 200
        assert get(url + "/about").json()["explains"] is True


def test_an_engine_without_maps_says_what_to_do(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(model) as (url, server):
        assert server.service.pipeline is not None
        engine = server.service.pipeline.engine
        monkeypatch.setattr(engine, "explainer", lambda: Engine.explainer(engine))
        found = refusal(post(url + EXPLAIN, PNG, "image/png"))
        assert found[:2] == (400, "NoExplanation")
        assert "serve the model with --engine torch" in found[2]
        assert post(url + "/invocations", PNG, "image/png").status == 200


def test_predictions_do_not_wait_for_explanations_that_wait(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, explain = threading.Semaphore(0), Explainer.explanations
    monkeypatch.setattr(Explainer, "explanations", lambda *given: gate.acquire(timeout=30) and explain(*given))
    with running(model, Service(bounds=Bounds(max_explanations=3))) as (url, _), ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(post, url + EXPLAIN, PNG, "image/png") for _ in range(4)]
        until(lambda: sum(each.done() for each in asked) == 1)
        refused = next(each.result() for each in asked if each.done())
        assert refusal(refused)[:2] == (503, "Overloaded")
        prediction = pool.submit(post, url + "/invocations", PNG, "image/png")
        gate.release()
        assert prediction.result(30).status == 200
        assert sum(each.done() for each in asked) < 4
        gate.release(2)
        assert sorted(each.result(30).status for each in asked) == [200, 200, 200, 503]
