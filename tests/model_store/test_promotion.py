"""Making a version live, with an endpoint whose update succeeds, fails, or is interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from breedclf import Classifier, Gate, ModelStore
from breedclf.api.endpoint import Endpoint
from breedclf.errors import ArtifactError, ConfigError, EndpointError, GateError
from breedclf.jobs.endpoints import EndpointSpec, EndpointStatus
from breedclf.model_store.records import EndpointOfModel
from tests.fakes import FakeClock
from tests.model_store.stored import FileEndpoints, check_whole
from tests.serving.conftest import CLASSES, draw, write_tiny_model

Models = Callable[..., Path]


@pytest.fixture
def backend(tmp_path: Path) -> FileEndpoints:
    folder = tmp_path / "endpoints"
    folder.mkdir()
    return FileEndpoints(folder)


@pytest.fixture
def dogs(store: ModelStore, model: Models, backend: FileEndpoints, clock: FakeClock) -> Endpoint:
    """Versions 1 to 3 of `dogs`; the endpoint serves version 1, which is live."""
    for content in (b"1", b"2", b"3"):
        store.add(model(content), name="dogs")
    backend.create_endpoint(EndpointSpec("dogs-live", store.model_directory("dogs", 1)))
    endpoint = Endpoint("dogs-live", backend, clock=clock)
    store.promote("dogs", 1, endpoint=endpoint)
    return endpoint


def state(store: ModelStore) -> tuple[int | None, int | None, bool]:
    """The live and the previous version, and whether a promotion is noted."""
    record = store.record("dogs")
    check_whole(store.path)
    return record.live, record.aliases.get("previous"), record.promoting is not None


def test_promote_and_roll_back(store: ModelStore, dogs: Endpoint, backend: FileEndpoints) -> None:
    store.promote("dogs", 2, endpoint=dogs, reason="better")
    assert (*state(store), backend.served("dogs-live")) == (2, 1, False, b"2")
    assert store.record("dogs").endpoint == EndpointOfModel(name="dogs-live", backend="files", version=2)
    assert store.rollback("dogs", endpoint=dogs).version == 1
    assert (*state(store), backend.served("dogs-live")) == (1, 2, False, b"1")
    assert store.rollback("dogs", endpoint=dogs).version == 2
    moved = [(each.alias, each.before, each.after, each.reason) for each in store.record("dogs").history]
    assert moved[1:3] == [("live", 1, 2, "better"), ("previous", None, 1, "better")]
    store.promote("dogs", "live", endpoint=dogs)
    assert state(store) == (2, 1, False), "promoting the live version changes nothing"


@pytest.mark.usefixtures("dogs")
def test_no_previous_version(store: ModelStore) -> None:
    with pytest.raises(ConfigError, match="no previous version to roll back to; version 1 stays live"):
        store.rollback("dogs")


@pytest.mark.usefixtures("dogs")
def test_an_update_that_is_rolled_back(store: ModelStore, backend: FileEndpoints) -> None:
    strict = Endpoint("dogs-live", replace(backend, refuses=b"2"))
    expected = (
        "version 2 of 'dogs': endpoint dogs-live: update . was rolled back: other predictions; the previous model "
        "keeps serving; version 1 stays live"
    )
    with pytest.raises(EndpointError, match=expected):
        store.promote("dogs", 2, endpoint=strict)
    assert (*state(store), backend.served("dogs-live")) == (1, None, False, b"1")


@pytest.mark.parametrize("step", ["stops_before", "stops_after"])
@pytest.mark.parametrize("then", ["promote", "rollback"])
def test_an_interrupted_promotion(
    store: ModelStore, dogs: Endpoint, backend: FileEndpoints, caplog: pytest.LogCaptureFixture, step: str, then: str
) -> None:
    store.promote("dogs", 2, endpoint=dogs)
    stopping = replace(backend, stops_before=step == "stops_before", stops_after=step == "stops_after")
    with pytest.raises(KeyboardInterrupt):
        store.promote("dogs", 3, endpoint=Endpoint("dogs-live", stopping))
    assert state(store) == (2, 1, True)
    with pytest.raises(ConfigError, match="version 3 of 'dogs' is being promoted, or that was interrupted"):
        store.remove("dogs", 3)
    if then == "promote":
        store.promote("dogs", 1, endpoint=dogs)
        previous = 3 if step == "stops_after" else 2
        assert (*state(store), backend.served("dogs-live")) == (1, previous, False, b"1")
    else:
        store.rollback("dogs", endpoint=dogs)
        live, previous = (2, 3) if step == "stops_after" else (1, 2)
        assert (*state(store), backend.served("dogs-live")) == (live, previous, False, str(live).encode())
    said = "serves it, so it is live" if step == "stops_after" else "does not serve it, so it is undone"
    assert f"the promotion of version 3 of dogs was interrupted; endpoint dogs-live {said}" in caplog.text


def test_an_interrupted_promotion_of_an_endpoint_that_is_gone(
    store: ModelStore, dogs: Endpoint, backend: FileEndpoints
) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.promote("dogs", 2, endpoint=Endpoint("dogs-live", replace(backend, stops_after=True)))
    backend.delete_endpoint("dogs-live")
    with pytest.raises(EndpointError, match="there is no endpoint 'dogs-live'"):
        store.promote("dogs", 3, endpoint=dogs)
    assert state(store) == (1, None, False)


def test_an_endpoint_that_is_not_in_service(store: ModelStore, dogs: Endpoint, backend: FileEndpoints) -> None:
    backend.set_status("dogs-live", EndpointStatus.FAILED, "no memory")
    with pytest.raises(EndpointError, match="dogs-live is Failed: no memory; .* version 1 stays live"):
        store.promote("dogs", 2, endpoint=dogs)
    assert state(store) == (1, None, False)


def test_the_endpoint_on_record_is_updated_without_being_named(
    store: ModelStore, model: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of its backend is enough; here it is the local one, which has no such endpoint."""
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    for content in (b"1", b"2"):
        store.add(model(content), name="dogs")
    store.promote("dogs", 1)
    store.serve_with("dogs", "dogs-live", "local")
    expected = (
        "endpoint 'dogs-live' of model 'dogs' on the backend local is gone, and version 1 stays live: deploy again "
        r"\(breedclf deploy .*objects/[0-9a-f]{64} --name dogs-live\) and repeat this, or move only the alias with "
        r"--no-endpoint \(alias_only=True\)"
    )
    with pytest.raises(EndpointError, match=expected):
        store.promote("dogs", 2)
    assert state(store) == (1, None, False)
    store.promote("dogs", 2, alias_only=True)
    assert state(store) == (2, 1, False)
    assert store.record("dogs").endpoint is None, "what is gone is not on record"
    store.rollback("dogs")
    assert state(store) == (1, 2, False)


def test_a_version_that_an_endpoint_serves_is_not_removed(
    store: ModelStore, dogs: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(monkeypatch, dogs)
    store.promote("dogs", 2, alias_only=True)
    store.promote("dogs", 3, alias_only=True)
    assert state(store) == (3, 2, False)
    with pytest.raises(ConfigError, match="version 1 of 'dogs' is served by endpoint 'dogs-live' on the backend files"):
        store.remove("dogs", 1)
    assert store.collect_garbage() == []
    dogs.delete()
    store.remove("dogs", 1)
    assert len(store.collect_garbage()) == 1
    check_whole(store.path)


def registered(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    """Let the backend of an endpoint be found by its name, as those of plugins are."""
    monkeypatch.setattr("breedclf.api.deployment.backend_of", lambda _: endpoint.backend)


def test_the_gate(store: ModelStore, model: Models) -> None:
    folder = model(b"1")
    evaluation = folder.parent / "evaluation-test"
    evaluation.mkdir()
    metrics = {"split": "test", "accuracy": 0.9, "accuracy_interval": [0.8, 0.95], "count": 50}
    (evaluation / "metrics.json").write_text(json.dumps(metrics | {"labels": ["cat", "dog"], "majority_share": 0.5}))
    store.add(folder, name="dogs")
    store.add(model(b"2"), name="dogs")
    with pytest.raises(GateError, match=r"refuses version 1 of 'dogs': accuracy: 90.0%.*no version is live") as error:
        store.promote("dogs", 1, gate=Gate(baseline=0.85))
    assert error.value.exit_code == 1
    assert [check.passed for check in store.promote("dogs", 1)] == [True]
    with pytest.raises(GateError, match="size: 0.0 MB, at most 1e-06 MB; version 1 stays live"):
        store.promote("dogs", 2, gate=Gate(max_megabytes=1e-6))
    with pytest.raises(ConfigError, match=r"baseline=0.5: version 2 of 'dogs' was added without an evaluation; give"):
        store.promote("dogs", 2, gate=Gate(baseline=0.5))
    assert state(store) == (1, None, False)


def test_the_gate_on_images(store: ModelStore, tmp_path: Path) -> None:
    labels, images = [], []
    for number in range(14):
        labels.append(f"{number // 2 + 1:03}.{CLASSES[number // 2]}")
        folder = tmp_path / "images/test" / labels[-1]
        folder.mkdir(parents=True, exist_ok=True)
        images.append(folder / f"{number}.png")
        draw(number).save(images[-1])
    shares = []
    for seed in range(2):
        folder = write_tiny_model(tmp_path / str(seed), seed=seed)
        store.add(folder, name="dogs")
        found = [each.best.label for each in Classifier(folder).predict(images)]
        shares.append(f"{sum(one == other for one, other in zip(found, labels, strict=True)) / 14:.1%} ")
    with pytest.raises(GateError, match=f"accuracy: {shares[0]}.*baseline 14.3%.*; no version is live"):
        store.promote("dogs", 1, data=tmp_path / "images")
    accuracy, parity = store.promote("dogs", 1, data=tmp_path / "images", gate=Gate(baseline=0))
    assert accuracy.detail.startswith(shares[0])
    assert parity.name == "parity"
    accuracy, against, _ = store.promote("dogs", 2, data=tmp_path / "images", gate=Gate(baseline=0))
    assert accuracy.detail.startswith(shares[1])
    assert "dogs 1 and dogs 2 can't be distinguished on 14 images" in against.detail
    assert state(store) == (2, 1, False)


def test_what_is_not_there(store: ModelStore, model: Models) -> None:
    with pytest.raises(ConfigError, match="has no model 'dogs'; there are: none"):
        store.promote("dogs", 1)
    assert not store.path.exists()
    store.add(model(), name="dogs")
    with pytest.raises(ConfigError, match="has no version 'best'; there are: 1"):
        store.promote("dogs", "best")
    with pytest.raises(ConfigError, match="has no version 'live'"):
        store.serve_with("dogs", "x", "local")
    (store.model_directory("dogs", 1) / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="is damaged"):
        store.promote("dogs", 1)
