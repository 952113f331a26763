"""What the emulator refuses before it does anything, by the service's own model and the documented rules."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf.backends.aws_requests.model import service_model
from breedclf.backends.emulator.app import _json
from breedclf.backends.emulator.control_plane import ControlPlane
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.emulator.validation import check_request
from tests.backends.conftest import Clients
from tests.backends.sagemaker.contexts import IMAGE
from tests.backends.sagemaker.job_requests import channel, script_job, tuning_job

MODEL = {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/r", "PrimaryContainer": {"Image": IMAGE}}
JOB: dict[str, Any] = {
    "TrainingJobName": "job",
    "RoleArn": "arn:aws:iam::123456789012:role/r",
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/o"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


@pytest.mark.parametrize(
    ("operation", "request_", "code", "message"),
    [
        ("CreateModel", {**MODEL, "ModelNam": "x"}, "ValidationException", "Unknown member 'ModelNam'"),
        (
            "CreateTrainingJob",
            {key: value for key, value in JOB.items() if key != "RoleArn"},
            "ValidationException",
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateTrainingJob",
            {**JOB, "TrainingJobName": "a_b"},
            "ValidationException",
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression",
        ),
        (
            "CreateTrainingJob",
            {**JOB, "TrainingJobName": "a" * 64},
            "ValidationException",
            "at 'trainingJobName' failed to satisfy constraint: Member must have length less than or equal to 63",
        ),
        (
            "CreateTrainingJob",
            {**JOB, "ResourceConfig": {**JOB["ResourceConfig"], "InstanceType": "ml.x9.huge"}},
            "ValidationException",
            "at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value set: [ml.m4",
        ),
        (
            "CreateTrainingJob",
            {**JOB, "HyperParameters": {"a": "b" * 2501}},
            "ValidationException",
            "at 'hyperParameters.a.member' failed to satisfy constraint: Member must have length less than or equal",
        ),
        (
            "CreateTrainingJob",
            {**JOB, "InputDataConfig": [{"ChannelName": "a/b"}]},
            "ValidationException",
            "2 validation errors detected: Value null at 'inputDataConfig.1.member.dataSource'",
        ),
        ("CreateTrainingJob", {**JOB, "HyperParameters": {"a": 1}}, "SerializationException", "must be a string"),
        ("ListTrainingJobs", {"MaxResults": 101}, "ValidationException", "Member must have value less than or equal"),
        (
            "CreateModel",
            {**MODEL, "Tags": [{"Key": "a b", "Value": "?"}]},
            "ValidationException",
            "tags.1.member.value",
        ),
    ],
)
def test_requests_are_checked_against_the_model(
    operation: str, request_: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        check_request("sagemaker", operation, request_, "us-east-1")
    assert caught.value.code == code
    assert message in str(caught.value)


def test_a_correct_request_passes_and_all_operations_exist(quick: Emulator) -> None:
    check_request("sagemaker", "CreateTrainingJob", JOB, "us-east-1")
    check_request(
        "sagemaker", "CreateModel", {**MODEL, "Tags": [{"Key": "Straße 1", "Value": "ü.:/=+-@"}]}, "us-east-1"
    )
    plane: ControlPlane = quick.plane
    for service, operations in plane.operations.items():
        unknown = set(operations) - set(service_model(service).operation_names)
        assert not unknown


def _changed(request: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**request, **changes}


def test_documented_rules_of_training_jobs(quick_client: Clients, quick_bucket: str) -> None:
    job = script_job(quick_client, quick_bucket, "rules", "")
    code = job["InputDataConfig"][0]
    algorithm = job["AlgorithmSpecification"]
    wrong = {
        "MaxWaitTimeInSeconds": _changed(job, EnableManagedSpotTraining=True),
        "Channel names must be unique": _changed(job, InputDataConfig=[code, code]),
        "No S3 objects found under S3 URL": _changed(job, InputDataConfig=[channel("a", f"s3://{quick_bucket}/none")]),
        "exactly one of TrainingImage and AlgorithmName": _changed(
            job, AlgorithmSpecification={"TrainingInputMode": "File"}
        ),
        "Invalid MetricDefinitions": _changed(
            job, AlgorithmSpecification={**algorithm, "MetricDefinitions": [{"Name": "m", "Regex": "(a)(b)"}]}
        ),
        "doesn't exist; use one in region": _changed(job, OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/x"}),
    }
    for message, request in wrong.items():
        with pytest.raises(ClientError, match=message) as caught:
            quick_client("sagemaker").create_training_job(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert quick_client("sagemaker").list_training_jobs(NameContains="rules")["TrainingJobSummaries"] == []


def test_a_bucket_in_another_region_is_refused(quick_client: Clients, quick_bucket: str) -> None:
    job = script_job(quick_client, quick_bucket, "abroad", "")
    abroad = f"{quick_bucket}-abroad"
    place = {"LocationConstraint": "eu-west-1"}
    quick_client("s3").create_bucket(Bucket=abroad, CreateBucketConfiguration=place)
    job["OutputDataConfig"]["S3OutputPath"] = f"s3://{abroad}/out"
    with pytest.raises(ClientError, match="is in region eu-west-1; use one in region us-east-1"):
        quick_client("sagemaker").create_training_job(**job)


def test_documented_rules_of_tuning_jobs(quick_client: Clients, quick_bucket: str) -> None:
    categories = {"CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}]}
    rate = {"Name": "rate", "MinValue": "0.1", "MaxValue": "0.2"}
    limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1}
    right = {"Strategy": "Random", "ResourceLimits": limits, "ParameterRanges": categories}
    program = {"CategoricalParameterRanges": [{"Name": "sagemaker_program", "Values": ["a"]}]}
    wrong = {
        "Grid search takes categorical": {
            **right,
            "Strategy": "Grid",
            "ParameterRanges": {"ContinuousParameterRanges": [rate]},
        },
        "the number of the grid's combinations, 2": {**right, "Strategy": "Grid"},
        "isn't emulated by breedclf's emulator; use Bayesian": {**right, "Strategy": "Hyperband"},
        "both static and tunable": {**right, "ParameterRanges": program},
        "more than one range": {
            **right,
            "ParameterRanges": {**categories, "ContinuousParameterRanges": [{**rate, "Name": "kind"}]},
        },
        "the range is reversed": {
            **right,
            "ParameterRanges": {"ContinuousParameterRanges": [{**rate, "MaxValue": "0.01"}]},
        },
        "can't be more than MaxNumberOfTrainingJobs": {
            **right,
            "ResourceLimits": {**limits, "MaxParallelTrainingJobs": 4},
        },
        "Choose a valid objective metric": {
            **right,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "nothing"},
        },
    }
    for message, config in wrong.items():
        request = tuning_job(quick_client, quick_bucket, "rules", "", config)
        with pytest.raises(ClientError, match=message) as caught:
            quick_client("sagemaker").create_hyper_parameter_tuning_job(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff"])
def test_a_body_that_is_not_json_is_a_client_error(body: bytes) -> None:
    with pytest.raises(ServiceError, match="the body (isn't JSON|is nested too deeply)") as error:
        _json(body)
    assert error.value.code == "SerializationException"
