"""The emulator's switches: failures of AWS, as boto3 and jobs see them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from breedclf.backends.common.folder import job_folder
from breedclf.backends.emulator.faults import Fault
from breedclf.backends.emulator.server import Emulator
from breedclf.errors import ConfigError
from tests.backends.conftest import Clients, asked, switch
from tests.backends.sagemaker.job_requests import archive_of, model_request, script_job, variant, wait_for_job
from tests.waiting import until

ONCE = Config(retries={"total_max_attempts": 1})
CHECKPOINTED = """
import os, time
folder = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints")
runs = len(os.listdir(folder))
open(os.path.join(folder, "run" + str(runs)), "w").write("x")
print("started " + str(runs), flush=True)
while runs < 2:
    time.sleep(0.05)
print("loss=0.5")
"""


def calls(emulator: Emulator, operation: str) -> int:
    found: list[dict[str, Any]] = json.loads(asked(emulator, "GET", "/_emulator/calls").data)
    return sum(each["operation"] == operation for each in found)


def test_throttling_ends_after_n_calls_and_each_call_is_recorded(quick: Emulator, quick_client: Clients) -> None:
    switch(quick, "faults", operation="List*", preset="throttling", times=2)
    fast = Config(retries={"mode": "standard", "total_max_attempts": 3})
    assert quick_client("sagemaker", config=fast).list_models()["Models"] is not None
    assert calls(quick, "ListModels") == 3
    switch(quick, "faults", operation="ListModels", preset="throttling", times=None)
    with pytest.raises(ClientError, match="Rate exceeded"):
        quick_client("sagemaker", config=ONCE).list_models()
    asked(quick, "DELETE", "/_emulator/faults")
    quick_client("sagemaker", config=ONCE).list_models()
    assert calls(quick, "ListModels") == 1


@pytest.mark.parametrize(
    ("preset", "code", "message"),
    [
        ("server-error", "InternalFailure", "internal error"),
        ("expired", "ExpiredTokenException", "security token included in the request is expired"),
        ("access-denied", "AccessDeniedException", "is not authorized to perform: sagemaker:ListModels"),
        ("quota", "ResourceLimitExceeded", "account-level service limit"),
        ("not-yet", "ValidationException", "Requested resource not found."),
    ],
)
def test_refusals_have_awss_codes(quick: Emulator, quick_client: Clients, preset: str, code: str, message: str) -> None:
    switch(quick, "faults", operation="ListModels", preset=preset, after=1)
    sagemaker = quick_client("sagemaker", config=ONCE)
    sagemaker.list_models()
    with pytest.raises(ClientError, match=message) as caught:
        sagemaker.list_models()
    assert caught.value.response["Error"]["Code"] == code
    sagemaker.list_models()


def test_a_lost_answer_closes_the_connection_of_s3_too(
    quick: Emulator, quick_client: Clients, quick_bucket: str
) -> None:
    for operation in ("ListModels", "s3:PutObject"):
        switch(quick, "faults", operation=operation, preset="lost")
    with pytest.raises(ConnectionClosedError):
        quick_client("sagemaker", config=ONCE).list_models()
    with pytest.raises(ConnectionClosedError):
        quick_client("s3", config=ONCE).put_object(Bucket=quick_bucket, Key="k", Body=b"x")
    assert "Contents" not in quick_client("s3").list_objects_v2(Bucket=quick_bucket)


def test_a_wrong_switch_is_refused(quick: Emulator) -> None:
    with pytest.raises(ConfigError, match="unknown fault 'throtling': did you mean 'throttling'"):
        Fault(operation="x", preset="throtling")
    answer = asked(quick, "POST", "/_emulator/faults", json.dumps({"operation": "x", "tims": 1}).encode())
    assert answer.status == 400
    assert b"tims" in answer.data
    assert asked(quick, "POST", "/_emulator/faults", b"{}", Content_Type="text/plain").status == 400


def test_no_capacity_fails_the_job_with_awss_reason(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    switch(quick, "faults", operation="TrainingJob", preset="capacity", name="crowded")
    quick_client("sagemaker").create_training_job(
        **script_job(quick_client, quick_bucket, "crowded", "print('loss=1')")
    )
    done = wait_for_job(quick_client, "crowded")
    assert done["TrainingJobStatus"] == "Failed"
    assert "CapacityError: Unable to provision requested ML compute capacity" in done["FailureReason"]


def test_only_checkpoints_survive_two_interruptions(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    job = script_job(quick_client, quick_bucket, "spot", CHECKPOINTED, EnableManagedSpotTraining=True)
    job["StoppingCondition"] = {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600}
    job["CheckpointConfig"] = {"S3Uri": f"s3://{quick_bucket}/checkpoints"}
    sagemaker = quick_client("sagemaker")
    sagemaker.create_training_job(**job)
    for runs in range(2):
        log = job_folder(quick.plane.local.home, "spot").log_file
        until(lambda: log.is_file() and f"started {runs}" in log.read_text())  # noqa: B023
        switch(quick, "interruptions", TrainingJobName="spot")
    done = wait_for_job(quick_client, "spot")
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    steps = [each["Status"] for each in done["SecondaryStatusTransitions"]]
    assert steps.count("Interrupted") == 2
    kept = quick_client("s3").list_objects_v2(Bucket=quick_bucket, Prefix="checkpoints/")["Contents"]
    assert [each["Key"] for each in kept] == ["checkpoints/run0", "checkpoints/run1", "checkpoints/run2"]


def test_an_endpoint_that_fails_its_health_check(quick: Emulator, quick_client: Clients, quick_bucket: str) -> None:
    sagemaker = quick_client("sagemaker")
    broken = archive_of({"code/inference.py": "raise RuntimeError('no model here')"})
    quick_client("s3").put_object(Bucket=quick_bucket, Key="broken.tar.gz", Body=broken)
    sagemaker.create_model(**model_request("ill", f"s3://{quick_bucket}/broken.tar.gz"))
    sagemaker.create_endpoint_config(EndpointConfigName="ill", ProductionVariants=variant("ill"))
    switch(quick, "faults", operation="Endpoint", preset="health-check", name="ill-by-switch")
    for name in ("ill", "ill-by-switch"):
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="ill")
        describe = lambda: sagemaker.describe_endpoint(EndpointName=name)  # noqa: E731, B023
        found = until(lambda: (each := describe())["EndpointStatus"] == "Failed" and each)  # noqa: B023
        assert "did not pass the ping health check" in found["FailureReason"]
        with pytest.raises(ClientError, match=f"Endpoint {name} of account 123456789012 not found"):
            quick_client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"x")
        sagemaker.delete_endpoint(EndpointName=name)
    log_file = quick.plane.endpoints.log_file("ill")
    until(lambda: not log_file.exists())
    assert sagemaker.list_endpoints(NameContains="ill")["Endpoints"] == []
