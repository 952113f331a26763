"""What AWS documents beyond its services' models: the same rules for requests that are sent and that are answered."""

from __future__ import annotations

from typing import Any

import pytest

from breedclf.backends.aws_requests.rules import RULES
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.validation import check_request
from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.errors import ConfigError
from breedclf.jobs.plan import ApiCall

REGION = "us-east-1"
IMAGE = f"111122223333.dkr.ecr.{REGION}.amazonaws.com/own/train:1"
ROLE = "arn:aws:iam::111122223333:role/breedclf"
JOB: dict[str, Any] = {
    "TrainingJobName": "job",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/o"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
MODEL = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}


def algorithm(**changes: Any) -> dict[str, Any]:
    return {"AlgorithmSpecification": {**JOB["AlgorithmSpecification"], **changes}}


def channel(uri: str, name: str = "training") -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def metrics(*names: str) -> dict[str, Any]:
    return algorithm(MetricDefinitions=[{"Name": name, "Regex": "(1)"} for name in names])


def tags(*keys: str, value: str = "") -> dict[str, Any]:
    return {"Tags": [{"Key": key, "Value": value} for key in keys]}


SUBNETS = {"VpcConfig": {"Subnets": [f"subnet-{n}" for n in range(17)], "SecurityGroupIds": ["sg-1"]}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    (tags(*(f"k{n}" for n in range(51))), "length less than or equal to 50"),
    (tags("aws:mine"), "'aws:mine' starts with aws:"),
    (tags("AWS:mine"), "'AWS:mine' starts with aws:"),
    (tags("a", "a"), "'a' is used more than once"),
    (tags("a", value="x" * 257), "length less than or equal to 256"),
    ({"Environment": {f"E{n}": "1" for n in range(101)}}, "length less than or equal to 100"),
    ({"Environment": {"E": "x" * 513}}, "length less than or equal to 512"),
    ({"Environment": {"1E": "x"}}, "regular expression"),
    (metrics("m" * 256), "length less than or equal to 255"),
    (metrics("m", "m"), "Metric names must be unique"),
    (SUBNETS, "length less than or equal to 16"),
    ({"OutputDataConfig": {"S3OutputPath": "s3://My-Bucket/o"}}, "'My-Bucket' is not a valid bucket name"),
    ({"OutputDataConfig": {"S3OutputPath": "s3://192.168.5.4/o"}}, "is not a valid bucket name"),
    ({"InputDataConfig": [channel("s3://my_bucket/dogs")]}, "'my_bucket' is not a valid bucket name"),
    ({"InputDataConfig": 2 * [channel("s3://bucket/dogs")]}, "Channel names must be unique"),
    (algorithm(TrainingImage="docker.io/own/train:1"), "not in a registry that SageMaker supports"),
    (algorithm(TrainingImage=IMAGE.replace(REGION, "eu-west-1")), "is in eu-west-1; SageMaker pulls images only from"),
    (algorithm(AlgorithmName="theirs"), "exactly one of TrainingImage and AlgorithmName"),
    ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
]


def refusals(operation: str, request: dict[str, Any]) -> tuple[str, str]:
    """How the backend refuses to send a request, and the emulator to answer it."""
    with pytest.raises(ConfigError) as sent:
        validate_call(ApiCall(operation, request), REGION)
    with pytest.raises(ServiceError) as answered:
        check_request("sagemaker", operation, request, REGION)
    return str(sent.value), str(answered.value)


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_aws_refuses_is_refused_before_it_is_sent_and_by_the_emulator(
    change: dict[str, Any], message: str
) -> None:
    assert all(message in each for each in refusals("CreateTrainingJob", {**JOB, **change}))


def test_a_models_image_is_checked_too() -> None:
    messages = refusals("CreateModel", {**MODEL, "PrimaryContainer": {"Image": "train:1"}})
    assert all("not in a registry that SageMaker supports" in each for each in messages)


OWN_REGISTRY = {"TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}}


@pytest.mark.parametrize(
    "change",
    [
        tags(*(f"k{n}" for n in range(50))),
        {"Environment": {"E": "s3://Any_Text/here"}, "HyperParameters": {"uri": "s3://Any_Text"}},
        algorithm(TrainingImage="public.ecr.aws/own/train:1"),
        algorithm(TrainingImage="registry.mine.example/train:1", **OWN_REGISTRY),
        {"InputDataConfig": [channel("s3://bucket.with.dots-1/Any/Key_here")]},
    ],
)
def test_valid_requests_are_accepted(change: dict[str, Any]) -> None:
    request = {**JOB, **change}
    assert validate_call(ApiCall("CreateTrainingJob", request), REGION)
    check_request("sagemaker", "CreateTrainingJob", request, REGION)


def test_each_rule_has_a_source() -> None:
    assert all(rule.source and rule.operations for rule in RULES)
