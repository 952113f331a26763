"""Endpoints and batch transforms at the emulator: the uploaded model answers through its own code."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf.backends.common.model_archive import pack_model
from breedclf.backends.emulator.server import emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.sagemaker.endpoints.end_schedule import schedule_request
from breedclf.inference.classifier import Classifier
from tests.backends.conftest import Clients, clients_at
from tests.backends.sagemaker.job_requests import ROLE, archive_of, model_request, script_job, variant, wait_for_job
from tests.serving.conftest import draw, encode, write_tiny_model
from tests.waiting import until

OWN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/breedclf:1"
RAY_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
ECHO = """
import json
def model_fn(folder):
    return open(folder + "/word").read()
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    if bytes(data) == b"bad":
        raise ValueError("a bad record")
    return {"word": model, "bytes": len(data)}
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and its archive with code."""
    root = tmp_path_factory.mktemp("packed")
    model = write_tiny_model(root / "model", light=True)
    return model, pack_model(model, root / "model.tar.gz")


def upload_echo(client: Clients, bucket: str, word: str) -> str:
    body = archive_of({"word": word, "code/inference.py": ECHO})
    client("s3").put_object(Bucket=bucket, Key=f"{word}/model.tar.gz", Body=body)
    return f"s3://{bucket}/{word}/model.tar.gz"


def in_service(client: Clients, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client("sagemaker").describe_endpoint(EndpointName=name)
        assert found["EndpointStatus"] != "Failed", found.get("FailureReason")
        return found if found["EndpointStatus"] == "InService" else None

    found: dict[str, Any] = until(look)
    return found


@pytest.mark.parametrize(
    "image", [pytest.param(OWN_IMAGE, id="own"), pytest.param(RAY_IMAGE, id="ray", marks=pytest.mark.slow)]
)
def test_a_breedclf_model_answers_as_its_classifier_does(
    client: Clients, bucket: str, packed: tuple[Path, Path], image: str
) -> None:
    model, archive = packed
    name = "own" if image == OWN_IMAGE else "ray"
    body = archive.read_bytes()
    if name == "ray":
        body = _with_file(archive, "config.yaml", b"applications:\n  - import_path: inference:app\n")
    client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=body)
    sagemaker, runtime = client("sagemaker"), client("sagemaker-runtime")
    sagemaker.create_model(**model_request(name, f"s3://{bucket}/model.tar.gz", image, BREEDCLF_NO_TOKEN="1"))
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variant(name))
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName=name)
    found = in_service(client, name)
    assert found["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"] == image

    image_file = encode(draw(3))
    answer = runtime.invoke_endpoint(EndpointName=name, Body=image_file, ContentType="image/jpeg")
    body = json.loads(answer["Body"].read())
    expected = Classifier(model).predict(image_file)
    assert [each["label"] for each in body["predictions"]] == [each.label for each in expected.ranked]
    assert body["predictions"][0]["probability"] == pytest.approx(expected.ranked[0].probability, abs=1e-4)
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        runtime.invoke_endpoint(EndpointName=name, Body=b"GIF89a", ContentType="image/gif")
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["OriginalStatusCode"] == 415
    assert "UnsupportedMediaType" in error["OriginalMessage"]
    assert error["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{name}")
    group = f"/aws/sagemaker/Endpoints/{name}"
    events = client("logs").filter_log_events(logGroupName=group)["events"]
    runners = [each["message"] for each in events if "the image is run by" in each["message"]]
    assert len(runners) == 1
    assert ("own code/" in runners[0]) is (name == "own")
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})


def _with_file(archive: Path, name: str, content: bytes) -> bytes:
    """The archive with one more file."""
    out = io.BytesIO()
    with tarfile.open(archive) as source, tarfile.open(fileobj=out, mode="w:gz") as target:
        for member in source.getmembers():
            target.addfile(member, source.extractfile(member))
        member = tarfile.TarInfo(name)
        member.size = len(content)
        target.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_an_update_replaces_the_model_and_a_bad_one_is_rolled_back(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker, runtime = quick_client("sagemaker"), quick_client("sagemaker-runtime")
    for word in ("first", "second"):
        sagemaker.create_model(**model_request(word, upload_echo(quick_client, quick_bucket, word)))
        sagemaker.create_endpoint_config(EndpointConfigName=word, ProductionVariants=variant(word))
    broken = archive_of({"code/inference.py": "raise RuntimeError()"})
    quick_client("s3").put_object(Bucket=quick_bucket, Key="broken.tar.gz", Body=broken)
    sagemaker.create_model(**model_request("third", f"s3://{quick_bucket}/broken.tar.gz"))
    sagemaker.create_endpoint_config(EndpointConfigName="third", ProductionVariants=variant("third"))

    sagemaker.create_endpoint(EndpointName="updated", EndpointConfigName="first")
    in_service(quick_client, "updated")

    def answer() -> str:
        body = runtime.invoke_endpoint(EndpointName="updated", Body=b"x", ContentType="text/csv")["Body"].read()
        return str(json.loads(body)["word"])

    assert answer() == "first"
    sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="second")
    assert answer() in ("first", "second")
    until(lambda: in_service(quick_client, "updated")["EndpointConfigName"] == "second")
    assert answer() == "second"
    sagemaker.delete_model(ModelName="second")
    sagemaker.delete_endpoint_config(EndpointConfigName="second")
    sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="third")
    kept = in_service(quick_client, "updated")
    assert "did not pass the ping health check" in kept["FailureReason"]
    assert kept["EndpointConfigName"] == "second"
    assert answer() == "second"
    listed = sagemaker.list_endpoints(StatusEquals="InService", NameContains="updated")["Endpoints"]
    assert [each["EndpointName"] for each in listed] == ["updated"]
    sagemaker.delete_endpoint(EndpointName="updated")


def test_errors_of_missing_or_unsuitable_parts_are_awss(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker = quick_client("sagemaker")
    uri = upload_echo(quick_client, quick_bucket, "fits")
    with pytest.raises(
        ClientError, match='Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/no"'
    ):
        sagemaker.describe_endpoint(EndpointName="no")
    with pytest.raises(ClientError, match="Could not find model data at"):
        sagemaker.create_model(**model_request("fits", f"s3://{quick_bucket}/nothing.tar.gz"))
    with pytest.raises(ClientError, match='Could not find model "arn'):
        sagemaker.create_endpoint_config(EndpointConfigName="fits", ProductionVariants=variant("no-model"))
    sagemaker.create_model(**model_request("fits", uri, RAY_IMAGE))
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}}
    with pytest.raises(ClientError, match="is greater than supported size"):
        sagemaker.create_endpoint_config(EndpointConfigName="fits", ProductionVariants=variant("fits", **serverless))
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        sagemaker.create_model(**model_request("fits", uri))
    with pytest.raises(ClientError, match="AsyncInferenceConfig isn't emulated"):
        asynchronous = {"OutputConfig": {"S3OutputPath": f"s3://{quick_bucket}/a"}}
        sagemaker.create_endpoint_config(
            EndpointConfigName="fits", ProductionVariants=variant("fits"), AsyncInferenceConfig=asynchronous
        )


def test_a_transform_answers_every_object_but_bad_ones(quick_client: Clients, quick_bucket: str) -> None:
    s3, sagemaker = quick_client("s3"), quick_client("sagemaker")
    for name, body in (("a.bin", b"1"), ("deep/b.bin", b"22")):
        s3.put_object(Bucket=quick_bucket, Key=f"in/{name}", Body=body)
    sagemaker.create_model(**model_request("batch", upload_echo(quick_client, quick_bucket, "batch")))
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{quick_bucket}/in/"}}}

    def run(name: str) -> dict[str, Any]:
        sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName="batch",
            TransformInput={**source, "ContentType": "text/csv"},
            TransformOutput={"S3OutputPath": f"s3://{quick_bucket}/{name}"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        describe = lambda: sagemaker.describe_transform_job(TransformJobName=name)  # noqa: E731
        found: dict[str, Any] = until(lambda: (each := describe())["TransformJobStatus"] != "InProgress" and each)
        return found

    assert run("whole")["TransformJobStatus"] == "Completed"
    answered = s3.get_object(Bucket=quick_bucket, Key="whole/deep/b.bin.out")["Body"].read()
    assert json.loads(answered) == {"word": "batch", "bytes": 2}
    s3.put_object(Bucket=quick_bucket, Key="in/c.bin", Body=b"bad")
    failed = run("partly")
    assert (failed["TransformJobStatus"], failed["FailureReason"]) == (
        "Failed",
        "ClientError: See job logs for more information",
    )
    left = s3.list_objects_v2(Bucket=quick_bucket, Prefix="partly/")["Contents"]
    assert [each["Key"] for each in left] == ["partly/a.bin.out", "partly/deep/b.bin.out"]
    group = "/aws/sagemaker/TransformJobs"
    events = quick_client("logs").filter_log_events(logGroupName=group, logStreamNamePrefix="partly/")["events"]
    assert any("in/c.bin: ClientError: 500" in each["message"] for each in events)


def test_a_restarted_emulator_resumes_jobs_and_endpoints(tmp_path: Path, plain_python: Path) -> None:
    go = tmp_path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\nprint('loss=0.5')"
    local = LocalBackend(tmp_path / "home", cores=1, gpus=(), stop_grace_seconds=1, python=plain_python)
    with running_emulator(local) as first:
        client = clients_at(first)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in first.environment.items():
                patch.setenv(name, value)
            bucket = f"restart-{tmp_path.name.replace('_', '-').lower()}"
            client("s3").create_bucket(Bucket=bucket)
            client("sagemaker").create_training_job(**script_job(client, bucket, "long", waits))
            client("sagemaker").create_model(**model_request("kept", upload_echo(client, bucket, "kept")))
            client("sagemaker").create_endpoint_config(EndpointConfigName="kept", ProductionVariants=variant("kept"))
            client("sagemaker").create_endpoint(EndpointName="kept", EndpointConfigName="kept")
            in_service(client, "kept")
            until(
                lambda: (
                    client("sagemaker").describe_training_job(TrainingJobName="long")["SecondaryStatus"] == "Training"
                )
            )
    go.touch()
    with running_emulator(local) as second, pytest.MonkeyPatch.context() as patch:
        for name, value in second.environment.items():
            patch.setenv(name, value)
        client = clients_at(second)
        assert wait_for_job(client, "long")["TrainingJobStatus"] == "Completed"
        assert client("s3").head_object(Bucket=bucket, Key="out/long/output/model.tar.gz")
        assert in_service(client, "kept")["EndpointConfigName"] == "kept"
        answer = client("sagemaker-runtime").invoke_endpoint(EndpointName="kept", Body=b"abc", ContentType="text/csv")
        assert json.loads(answer["Body"].read()) == {"word": "kept", "bytes": 3}
        assert client("sagemaker").describe_model(ModelName="kept")["ExecutionRoleArn"] == ROLE


def test_a_schedule_deletes_an_endpoint_when_it_is_due(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker, scheduler = quick_client("sagemaker"), quick_client("scheduler")
    uri = upload_echo(quick_client, quick_bucket, "ends")
    sagemaker.create_model(**model_request("ends", uri, RAY_IMAGE))
    sagemaker.create_endpoint_config(EndpointConfigName="ends", ProductionVariants=variant("ends"))
    due = schedule_request("ends", expires=time.time() + 1, role=ROLE)
    scheduler.create_schedule(**due)  # due while the endpoint is still being created, when none can be deleted
    sagemaker.create_endpoint(EndpointName="ends", EndpointConfigName="ends")
    assert scheduler.get_schedule(Name=due["Name"])["Target"]["Arn"] == due["Target"]["Arn"]
    with pytest.raises(ClientError, match="already exists") as taken:
        scheduler.create_schedule(**due)
    assert taken.value.response["Error"]["Code"] == "ConflictException"
    until(lambda: not sagemaker.list_endpoints(NameContains="ends")["Endpoints"])
    for gone in (scheduler.get_schedule, scheduler.delete_schedule):
        with pytest.raises(ClientError) as missing:
            until(lambda gone=gone: gone(Name=due["Name"]) and None, seconds=5)
        assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ScheduleExpression": "rate(5 minutes)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpressionTimezone": "Europe/Berlin"}, "doesn't emulate"),
        ({"Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": ROLE}}, "doesn't emulate"),
        ({"FlexibleTimeWindow": {"Mode": "SOMETIMES"}}, "enum value set"),
    ],
)
def test_schedules_that_end_no_endpoint_are_refused(
    quick_client: Clients, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        quick_client("scheduler").create_schedule(**{**schedule_request("x", expires=0, role=ROLE), **change})
