"""Endpoints on SageMaker: in service only with correct answers, updated without downtime, deleted completely."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError

from breedclf import Classifier, Deployment
from breedclf.api.endpoint import Endpoint
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.clients import AwsClients
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ArtifactError, BreedclfError, ConfigError, EndpointError, ModelError
from breedclf.jobs.endpoints import EndpointSpec, EndpointStatus, ServingBackend, TransformBackend
from tests.backends.sagemaker.fake_serving import NOW, REGION, FakeServing, ModelServers, RefusedError
from tests.fakes import FakeClock
from tests.serving.conftest import draw, encode, write_tiny_model

ROLE = "arn:aws:iam::111122223333:role/breedclf"
OWN = f"111122223333.dkr.ecr.{REGION}.amazonaws.com/breeds:1"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServers]:
    started = ModelServers(tmp_path_factory.mktemp("served"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("light") / "model", light=True)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other weights."""
    return write_tiny_model(tmp_path_factory.mktemp("other") / "model", seed=1, light=True)


@pytest.fixture
def aws(s3_url: str, servers: ModelServers) -> FakeServing:
    return FakeServing(s3_url, servers)


@pytest.fixture(scope="module")
def bucket(s3_url: str, servers: ModelServers) -> str:
    """One for all tests, so that each model is uploaded once."""
    name = f"bucket-{secrets.token_hex(4)}"
    FakeServing(s3_url, servers).s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW.timestamp())


@pytest.fixture
def backend(aws: FakeServing, clock: FakeClock, bucket: str, tmp_path: Path) -> SageMakerBackend:
    return with_settings(aws, clock, tmp_path, bucket=bucket)


def with_settings(aws: FakeServing, clock: FakeClock, home: Path, **given: Any) -> SageMakerBackend:
    settings = SageMakerSettings(role=ROLE, region=REGION, **{"serving_image": OWN, **given})
    return SageMakerBackend(settings=settings, clients=aws.clients, home=home, clock=clock)


def deployed(model: Path, backend: SageMakerBackend, clock: FakeClock, **options: Any) -> Endpoint:
    backend.create_endpoint(EndpointSpec("dogs", model, **options))
    return Endpoint("dogs", backend, clock=clock).wait()


def model_uri(aws: FakeServing, name: str) -> str:
    return str(aws.models[name]["PrimaryContainer"]["ModelDataUrl"])


def objects(aws: FakeServing, backend: SageMakerBackend) -> set[str]:
    return {each["Key"] for each in aws.s3.list_objects_v2(Bucket=backend.settings.bucket).get("Contents", ())}


def test_an_endpoint_has_a_price_by_its_machines(
    aws: FakeServing, clock: FakeClock, bucket: str, model: Path, tmp_path: Path
) -> None:
    backend = with_settings(aws, clock, tmp_path, bucket=bucket, endpoint_instance_type="ml.m5.xlarge")
    deployed(model, backend, clock)
    clock.now += 7200
    cost = backend.endpoint_cost("dogs")
    assert cost.usd_per_hour is not None
    assert cost.usd == pytest.approx(2 * cost.usd_per_hour, rel=0.1)
    with pytest.raises(EndpointError, match="there is no endpoint 'cats'"):
        backend.endpoint_cost("cats")


def test_it_implements_the_protocols(backend: SageMakerBackend) -> None:
    assert isinstance(backend, ServingBackend)
    assert isinstance(backend, TransformBackend)


def test_a_model_is_deployed_invoked_and_deleted(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    endpoint = deployed(model, backend, clock, ttl_seconds=3_600)
    known = endpoint.describe()
    assert (known.status, known.generation, known.failure_reason) == (EndpointStatus.IN_SERVICE, 1, None)
    assert known.expires is not None
    assert known.expires - clock.now == pytest.approx(3_600, abs=120)
    assert aws.tags("dogs")["breedclf-purpose"] == "endpoint"
    image = encode(draw(3))
    assert endpoint.predict(image).best.label == Classifier(model).predict(image).best.label
    assert [each.name for each in backend.list_endpoints()] == ["dogs"]
    endpoint.delete()
    assert backend.list_endpoints() == []
    assert (aws.models, aws.configs, aws.endpoints) == ({}, {}, {})
    assert {Path(key).name for key in objects(aws, backend)} == {"model.tar.gz", "right-answers.json"}


def test_the_calls_and_poll_times_of_a_deployment(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    aws.pending_looks = 12
    deployed(model, backend, clock)
    assert aws.calls.count("DescribeEndpoint") == 14
    changing = [call for call in aws.calls if call.startswith(("Create", "Update", "AddTags"))]
    assert changing == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "AddTags"]
    assert aws.calls.count("InvokeEndpoint") == 5
    assert min(clock.slept) >= 15, "more than four looks a minute"
    before = len(aws.calls)
    backend.describe_endpoint("dogs")
    assert aws.calls[before:] == ["DescribeEndpoint", "ListTags"], "a generation is checked once"


def test_the_same_model_is_uploaded_once(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    deployed(model, backend, clock)
    written: list[str] = []
    for operation in ("PutObject", "CreateMultipartUpload"):
        aws.s3.meta.events.register(f"before-call.s3.{operation}", lambda model, **_: written.append(model.name))
    backend.create_endpoint(EndpointSpec("cats", model))
    assert written == []
    assert len({model_uri(aws, name) for name in aws.models}) == 1


def test_the_requests_can_be_read_before_deployment(aws: FakeServing, backend: SageMakerBackend, model: Path) -> None:
    before = objects(aws, backend)
    shown = backend.requests_for_endpoint(EndpointSpec("dogs", model))
    assert (aws.calls, objects(aws, backend)) == ([], before)
    backend.create_endpoint(EndpointSpec("dogs", model))
    sent = {operation: request for operation, request in aws.bodies if operation.startswith("Create")}
    for request in sent.values():  # what is only shown asks nobody whose it would be
        assert request["Tags"].pop() == {"Key": "breedclf-user", "Value": backend.context.owner}
    assert sent == shown


def test_a_model_with_wrong_answers_is_never_in_service(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    backend.create_endpoint(EndpointSpec("dogs", model))
    (name,) = aws.models
    aws.served_instead[model_uri(aws, name)] = other_model
    with pytest.raises(EndpointError, match="the server returns .* the classifier"):
        Endpoint("dogs", backend, clock=clock).wait()
    assert aws.endpoints["dogs"]["status"] == "InService", "AWS thinks otherwise"
    (listed,) = backend.list_endpoints()
    assert listed.status is EndpointStatus.FAILED
    assert backend.reap_endpoints() == ["dogs"]


def test_a_deployment_that_fails_leaves_nothing(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    aws.fail_next_change = "The primary container did not pass the ping health check."
    aws.pending_looks = 0
    with pytest.raises(EndpointError, match="ping health check.*CloudWatch, /aws/sagemaker/Endpoints/dogs"):
        Deployment(model, backend=backend, name="dogs", clock=clock).deploy()
    assert (aws.models, aws.configs, aws.endpoints) == ({}, {}, {})


def test_an_update_and_its_generations(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    endpoint = deployed(model, backend, clock)
    assert endpoint.update(other_model).describe().generation == 2
    image = encode(draw(5))
    assert endpoint.predict(image).ranked[0].probability == pytest.approx(
        Classifier(other_model).predict(image).ranked[0].probability, abs=1e-3
    )
    assert len(aws.models) == len(aws.configs) == 1, "generations that can't be restored are deleted"
    assert endpoint.update(model).describe().generation == 3
    assert endpoint.describe().failure_reason is None


def test_an_update_that_sagemaker_rolls_back(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    endpoint = deployed(model, backend, clock)
    aws.fail_next_change = "The container did not come up."
    with pytest.raises(EndpointError, match=r"update 2 was rolled back: The container .* keeps serving"):
        endpoint.update(other_model)
    known = endpoint.describe()
    assert (known.status, known.generation, known.rolled_back) == (EndpointStatus.IN_SERVICE, 1, True)
    updated = endpoint.update(other_model).describe()
    assert (updated.generation, updated.rolled_back) == (3, False)
    endpoint.delete()
    assert (aws.models, aws.configs) == ({}, {})


def test_an_update_with_wrong_answers_is_rolled_back(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path, tmp_path: Path
) -> None:
    endpoint = deployed(model, backend, clock)
    number = backend.update_endpoint("dogs", other_model)
    name = next(name for name in aws.models if "-g2-" in name)
    aws.served_instead[model_uri(aws, name)] = write_tiny_model(tmp_path / "third", seed=3, light=True)
    seen = []
    while (known := endpoint.describe()).status is not EndpointStatus.IN_SERVICE:
        seen.append(known.status)
    assert seen[0] is EndpointStatus.UPDATING
    assert EndpointStatus.ROLLING_BACK in seen
    assert known.generation == 1 and known.rolled_back
    assert f"update {number} was rolled back: sample" in (known.failure_reason or "")
    image = encode(draw(1))
    assert endpoint.predict(image).best.label == Classifier(model).predict(image).best.label
    another = with_settings(aws, clock, tmp_path, bucket=backend.settings.bucket)
    assert another.describe_endpoint("dogs") == known, "all processes agree"


def test_an_interrupted_rollback_is_resumed(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path, tmp_path: Path
) -> None:
    endpoint = deployed(model, backend, clock)
    backend.update_endpoint("dogs", other_model)
    name = next(name for name in aws.models if "-g2-" in name)
    aws.served_instead[model_uri(aws, name)] = write_tiny_model(tmp_path / "third", seed=3, light=True)
    aws.refuse_next["UpdateEndpoint"] = [RefusedError("not now", "AccessDeniedException", 400)]
    with pytest.raises(EndpointError, match="rolling back endpoint dogs"):
        endpoint.wait()
    assert endpoint.wait().describe().generation == 1


def test_an_outdated_description_is_ignored(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    endpoint = deployed(model, backend, clock)
    before = dict(aws.endpoints["dogs"])
    backend.update_endpoint("dogs", other_model)
    after, aws.endpoints["dogs"] = aws.endpoints["dogs"], before
    assert endpoint.status is EndpointStatus.UPDATING, "AWS returns an outdated description for a moment"
    aws.endpoints["dogs"] = after
    assert endpoint.wait().describe().generation == 2


def test_an_endpoint_that_aws_does_not_know_yet(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    aws.unseen_looks = 2
    config = backend.requests_for_endpoint(EndpointSpec("dogs", model))["CreateEndpointConfig"]["EndpointConfigName"]
    aws.refuse_next["CreateEndpoint"] = [RefusedError(f'Could not find entity "endpoint-config/{config}".')]
    assert deployed(model, backend, clock).status is EndpointStatus.IN_SERVICE


def test_a_name_that_is_taken(aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path) -> None:
    deployed(model, backend, clock)
    kept = (dict(aws.models), dict(aws.configs))
    with pytest.raises(ConfigError, match="'dogs' is taken"):
        backend.create_endpoint(EndpointSpec("dogs", model))
    assert (aws.models, aws.configs) == kept


FOREIGN_WORDS = {
    "missing": "{kind} {arn} is unknown to this plane",
    "taken": "There is a {kind} called {arn}",
    "busy": "{arn} is busy, come back later",
}


def test_errors_are_classified_whatever_their_message(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    aws.words = FOREIGN_WORDS
    with pytest.raises(EndpointError, match="there is no endpoint 'dogs'"):
        backend.describe_endpoint("dogs")
    aws.answers_lost = {"CreateModel", "CreateEndpointConfig", "CreateEndpoint"}
    deployed(model, backend, clock)
    with pytest.raises(ConfigError, match="'dogs' is taken"):
        backend.create_endpoint(EndpointSpec("dogs", model))
    aws.answers_lost, aws.pending_looks = {"UpdateEndpoint"}, 5
    backend.update_endpoint("dogs", other_model)
    with pytest.raises(EndpointError, match="is Updating, and SageMaker can't delete it now"):
        backend.delete_endpoint("dogs")
    Endpoint("dogs", backend, clock=clock).wait()
    backend.delete_endpoint("dogs")
    clock.sleep(60)
    while "dogs" in aws.endpoints:
        with contextlib.suppress(EndpointError):
            backend.describe_endpoint("dogs")
    with pytest.raises(EndpointError, match="there is no endpoint 'dogs'"):
        backend.delete_endpoint("dogs")
    assert (aws.models, aws.configs) == ({}, {})


@pytest.mark.parametrize("same", [True, False], ids=["the same model", "another model"])
def test_of_two_deployments_with_one_name_one_fails_and_deletes_nothing(
    aws: FakeServing,
    backend: SageMakerBackend,
    clock: FakeClock,
    model: Path,
    other_model: Path,
    bucket: str,
    tmp_path: Path,
    same: bool,
) -> None:
    """The other one is first between our look at the name and our creating the endpoint."""
    other = with_settings(aws, clock, tmp_path / "other", bucket=bucket)
    create, theirs = aws._CreateEndpoint, model if same else other_model

    def other_is_first(**request: Any) -> dict[str, Any]:
        aws._CreateEndpoint = create  # type: ignore[method-assign]
        other.create_endpoint(EndpointSpec("dogs", theirs))
        return create(**request)

    aws._CreateEndpoint = other_is_first  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="'dogs' is taken"):
        backend.create_endpoint(EndpointSpec("dogs", model))
    assert Endpoint("dogs", other, clock=clock).wait().status is EndpointStatus.IN_SERVICE
    assert list(aws.configs) == list(aws.models) == [aws.endpoints["dogs"]["config"]]


def test_a_name_that_is_taken_is_seen_before_anything_is_uploaded(
    aws: FakeServing, clock: FakeClock, backend: SageMakerBackend, model: Path, bucket: str, tmp_path: Path
) -> None:
    deployed(model, backend, clock)
    fresh = with_settings(aws, clock, tmp_path, bucket=bucket, prefix="fresh")
    with pytest.raises(ConfigError, match="'dogs' is taken"):
        fresh.create_endpoint(EndpointSpec("dogs", model))
    assert not [key for key in objects(aws, fresh) if key.startswith("fresh/")]


END_ROLE = "arn:aws:iam::111122223333:role/breedclf-end"


def test_aws_itself_ends_an_endpoint_if_it_is_given_a_role_for_it(
    aws: FakeServing, clock: FakeClock, model: Path, bucket: str, tmp_path: Path
) -> None:
    backend = with_settings(aws, clock, tmp_path, bucket=bucket, endpoint_end_role=END_ROLE)
    deployed(model, backend, clock, ttl_seconds=3_600)
    [schedule] = aws.schedules.values()
    ends = datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
    expires = backend.describe_endpoint("dogs").expires
    assert expires is not None and ends.timestamp() == pytest.approx(expires, abs=1)
    assert schedule["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint"
    assert json.loads(schedule["Target"]["Input"]) == {"EndpointName": "dogs"}
    assert schedule["ActionAfterCompletion"] == "DELETE"
    backend.delete_endpoint("dogs")
    assert aws.schedules == {}


def test_a_schedule_that_an_earlier_endpoint_left_is_replaced(
    aws: FakeServing, clock: FakeClock, model: Path, bucket: str, tmp_path: Path
) -> None:
    backend = with_settings(aws, clock, tmp_path, bucket=bucket, endpoint_end_role=END_ROLE)
    aws.schedules["breedclf-end-of-dogs"] = {"ScheduleExpression": "at(2020-01-01T00:00:00)"}
    backend.create_endpoint(EndpointSpec("dogs", model, ttl_seconds=60))
    assert "2020" not in aws.schedules["breedclf-end-of-dogs"]["ScheduleExpression"]


def test_an_endpoint_that_is_refused_leaves_no_schedule(
    aws: FakeServing, clock: FakeClock, model: Path, bucket: str, tmp_path: Path
) -> None:
    backend = with_settings(aws, clock, tmp_path, bucket=bucket, endpoint_end_role=END_ROLE)
    aws.refuse_next["CreateEndpoint"] = [RefusedError("The account-level limit is 0", "ResourceLimitExceeded")]
    with pytest.raises(EndpointError, match="limit is 0"):
        backend.create_endpoint(EndpointSpec("dogs", model, ttl_seconds=60))
    assert aws.schedules == {}


@pytest.mark.parametrize("key", ["breedclf", "breedclf-expires", "breedclf-anything"])
def test_a_users_tag_cannot_take_the_place_of_one_of_ours(key: str) -> None:
    with pytest.raises(ConfigError, match=f"tag '{key}': breedclf finds its resources by such tags"):
        SageMakerSettings(tags={key: "9999999999"})


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_what_was_made_goes_when_aws_refuses_the_rest(
    aws: FakeServing, backend: SageMakerBackend, model: Path, operation: str
) -> None:
    aws.refuse_next[operation] = [RefusedError("The account-level limit is 0", "ResourceLimitExceeded")]
    with pytest.raises(EndpointError, match="an account quota .* limit is 0"):
        backend.create_endpoint(EndpointSpec("dogs", model))
    assert (aws.models, aws.configs, aws.endpoints) == ({}, {}, {})


def test_no_model_and_no_endpoint(backend: SageMakerBackend, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a breedclf model"):
        backend.create_endpoint(EndpointSpec("dogs", tmp_path))
    for call in (backend.describe_endpoint, backend.delete_endpoint):
        with pytest.raises(EndpointError, match="there is no endpoint 'dogs'"):
            call("dogs")
    with pytest.raises(EndpointError, match="Could not find endpoint"):
        backend.invoke_endpoint("dogs", b"x", content_type="image/jpeg", timeout_seconds=1)


def test_foreign_endpoints_are_left_alone(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    deployed(model, backend, clock)
    aws.tags("dogs").clear()
    assert backend.list_endpoints() == []
    assert backend.describe_endpoint("dogs").status is EndpointStatus.IN_SERVICE
    for change in (lambda: backend.delete_endpoint("dogs"), lambda: backend.update_endpoint("dogs", other_model)):
        with pytest.raises(EndpointError, match="was not created by breedclf"):
            change()
    assert "dogs" in aws.endpoints


def test_an_endpoint_whose_time_is_over_is_reaped(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    deployed(model, backend, clock, ttl_seconds=600)
    backend.create_endpoint(EndpointSpec("cats", model))
    assert backend.reap_endpoints() == []
    clock.sleep(600)
    assert backend.reap_endpoints() == ["dogs"]
    assert {name.split("-")[0] for name in aws.models} == {"cats"}


def test_one_that_is_being_made_is_reaped_later(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aws.pending_looks = 30
    with pytest.raises(EndpointError, match="still Creating after 20 s"), caplog.at_level(logging.WARNING):
        Deployment(model, backend=backend, name="dogs", clock=clock).deploy(timeout=20)
    assert "SageMaker can't delete it now; it is marked as expired" in caplog.text
    aws.endpoints["dogs"]["looks"] = 0
    assert Endpoint("dogs", backend, clock=clock).wait().name == "dogs"
    assert backend.reap_endpoints() == ["dogs"]


def test_a_request_that_is_refused(backend: SageMakerBackend, clock: FakeClock, model: Path) -> None:
    endpoint = deployed(model, backend, clock)
    with pytest.raises(ModelError) as error:
        backend.invoke_endpoint("dogs", b"not an image", content_type="image/jpeg")
    assert (error.value.status_code, error.value.original_status_code) == (424, 400)
    assert "BadImage" in error.value.original_message
    assert endpoint.predict_many([encode(draw(2)), b"GIF89a"], on_error="return")[1].exit_code == 3


@pytest.mark.parametrize(
    "trouble",
    [
        RefusedError("Rate exceeded", "ThrottlingException", 400),
        RefusedError("", "InternalFailure", 500),
        RefusedError("", "ServiceUnavailable", 503),
        RefusedError("not yet", "ModelNotReadyException", 429),
        RefusedError("busy", "ModelError", 424, OriginalStatusCode=503, OriginalMessage="Overloaded"),
    ],
    ids=lambda refused: refused.code + str(refused.status),
)
def test_trouble_that_passes(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, trouble: RefusedError
) -> None:
    endpoint = deployed(model, backend, clock)
    aws.refuse_next["InvokeEndpoint"] = [trouble] * 3
    assert endpoint.predict(encode(draw(2))).ranked
    aws.refuse_next["InvokeEndpoint"] = [trouble] * 1_000
    began = clock.now
    with pytest.raises(EndpointError):
        endpoint.predict(encode(draw(2)), timeout=10)
    assert clock.now - began == pytest.approx(10)


def test_trouble_that_does_not_pass(aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path) -> None:
    endpoint = deployed(model, backend, clock)
    aws.refuse_next["InvokeEndpoint"] = [
        RefusedError(
            "User: arn:aws:iam::1:user/me is not authorized to perform: sagemaker:InvokeEndpoint",
            "AccessDeniedException",
            403,
        )
    ]
    with pytest.raises(EndpointError, match="missing permission sagemaker:InvokeEndpoint"):
        endpoint.predict(encode(draw(2)))
    aws.refuse_next["DescribeEndpoint"] = [RefusedError("expired", "ExpiredTokenException", 403)]
    with pytest.raises(BreedclfError, match="credentials have expired"):
        endpoint.describe()


def test_a_model_that_still_loads_is_waited_for(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    aws.refuse_next["InvokeEndpoint"] = [
        RefusedError("", "ModelError", 424, OriginalStatusCode=404, OriginalMessage="Path '/' not found")
    ] * 3
    assert deployed(model, backend, clock).status is EndpointStatus.IN_SERVICE


def test_a_model_that_never_loads_is_refused(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path
) -> None:
    aws.refuse_next["InvokeEndpoint"] = [
        RefusedError("", "ModelError", 424, OriginalStatusCode=500, OriginalMessage="Traceback")
    ] * 1_000
    with pytest.raises(EndpointError, match="the model server responded with 500: Traceback"):
        deployed(model, backend, clock)


def test_serverless(aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, tmp_path: Path) -> None:
    serverless = with_settings(aws, clock, tmp_path, bucket=backend.settings.bucket, serverless_memory_mb=2048)
    endpoint = deployed(model, serverless, clock)
    assert serverless.endpoint_terms.max_body_bytes == 4 << 20
    large = encode(draw(2, width=1_400, height=1_200), "PNG", compress_level=0)
    assert 4 << 20 < len(large) < 6 << 20
    assert endpoint.predict(large).ranked, "sent smaller"
    with pytest.raises(ConfigError, match="is serverless, but these settings specify a machine"):
        backend.update_endpoint("dogs", model)
    with pytest.raises(EndpointError, match="is serverless and accepts at most 4,194,304"):
        backend.invoke_endpoint("dogs", large, content_type="image/png")


def test_batch_transform(aws: FakeServing, backend: SageMakerBackend, model: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for number in range(3):
        draw(number).save(images / "sub" / f"{number}.jpg")
    (images / "broken.jpg").write_bytes(b"not an image")
    result = Deployment(model, backend=backend).transform(images, tmp_path / "out")
    assert (result.answered, list(result.failed)) == (3, ["broken.jpg"])
    assert "CreateEndpoint" not in aws.calls
    classifier = Classifier(model)
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert classifier.predict(images / "sub" / "2.jpg").best.label in lines[-1]
    assert aws.models == {}
    assert not [key for key in objects(aws, backend) if "/jobs/" in key]
    shutil.rmtree(tmp_path / "out")
    aws.fail_next_change = "ClientError: 400"
    result = Deployment(model, backend=backend).transform(images, tmp_path / "out")
    assert sorted(result.failed) == ["broken.jpg", "sub/1.jpg"]
    assert "has no result for it: ClientError: 400" in result.failed["sub/1.jpg"]


def test_answers_that_get_lost(
    aws: FakeServing, backend: SageMakerBackend, clock: FakeClock, model: Path, other_model: Path
) -> None:
    """boto3 sends a request again, which AWS has carried out already."""
    aws.answers_lost = {"CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "DeleteEndpoint"}
    endpoint = deployed(model, backend, clock)
    assert endpoint.update(other_model).describe().generation == 2
    endpoint.delete()
    assert aws.answers_lost == set()
    assert (aws.models, aws.configs, aws.endpoints) == ({}, {}, {})


def test_a_connection_that_fails_undoes_nothing(
    aws: FakeServing, backend: SageMakerBackend, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(**_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="https://sagemaker")

    client = aws.clients("sagemaker")
    monkeypatch.setattr(client, "create_endpoint", lost)
    with pytest.raises(EndpointError, match="Connect timeout"):
        backend.create_endpoint(EndpointSpec("dogs", model))
    assert len(aws.models) == len(aws.configs) == 1
    monkeypatch.undo()
    backend.create_endpoint(EndpointSpec("dogs", model))
    assert len(aws.models) == len(aws.configs) == 1


def test_an_answer_that_was_cut_is_no_empty_one() -> None:
    """botocore takes it for one without a single field."""
    answers = [b"1\r\n\r\n"] * 2 + [b"17\r\n\r\n" + b'{"ModelArn": "a"}']
    served: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    served.append(connection.recv(65_536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: " + answer)

        thread = threading.Thread(target=serve)
        thread.start()
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
        clients = AwsClients(session, REGION, f"http://127.0.0.1:{listener.getsockname()[1]}")
        answer = clients("sagemaker").create_model(ModelName="dogs", ExecutionRoleArn=ROLE)
        thread.join()
    assert answer["ModelArn"] == "a"
    assert len(served) == 3
