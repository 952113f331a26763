"""Errors of each protocol for unknown operations and hostile bodies, which never cause a 500."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from breedclf.backends.emulator.server import Emulator
from tests.backends.conftest import Clients, asked
from tests.backends.sagemaker.job_requests import tuning_job

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("cloudwatch", "list_metrics"),
        ("ecr", "describe_repositories"),
        ("ec2", "describe_vpcs"),
        ("iam", "list_users"),
        ("route53", "list_hosted_zones"),
        ("lambda", "list_functions"),
        ("dynamodb", "list_tables"),
        ("cloudformation", "list_stacks"),
    ],
)
def test_other_services_answer_with_their_protocols_errors(quick_client: Clients, service: str, call: str) -> None:
    with pytest.raises(ClientError, match="breedclf's emulator doesn't emulate") as caught:
        getattr(quick_client(service, config=ONCE), call)()
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_older_protocols_of_cloudwatch_get_errors_too(quick: Emulator) -> None:
    target = {"X_Amz_Target": "GraniteServiceVersion20100801.ListMetrics", "Content_Type": "application/x-amz-json-1.0"}
    answer = asked(quick, "POST", "/", b"{}", service="monitoring", **target)
    assert answer.json()["__type"] == "UnknownOperationException"
    assert "monitoring:ListMetrics" in answer.json()["message"]
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = asked(quick, "POST", "/", b"Action=ListMetrics&Version=2010-08-01", service="monitoring", **form)
    assert ElementTree.fromstring(answer.data).findtext("Error/Code") == "UnknownOperationException"


def deep(opening: str, closing: str, key: str = "NameContains") -> bytes:
    return f'{{"{key}": {opening * 100_000}{closing * 100_000}}}'.encode()


HOSTILE = [
    deep("[", "]"),
    deep('{"a":', "1}").replace(b"1}" * 99_999, b"1" + b"}" * 99_999),
    deep('{"SubExpressions":[', "]}", "SearchExpression").replace(b"[]}", b"[{}]}", 1),
    b'{"SearchExpression":' + b'{"SubExpressions":[' * 400 + b"{}" + b"]}" * 400 + b', "Resource": "TrainingJob"}',
    b'{"MaxResults": NaN}',
    b'{"MaxResults": 1e999}',
    b'{"MaxResults": -1e999, "limit": 1e999}',
    b'{"CreationTimeAfter": 1e999}',
    b'{"MaxResults": ' + b"9" * 5_000 + b"}",
    b'{"NextToken": "' + b"9" * 5_000 + b'", "nextToken": "f/' + "²".encode() + b'"}',
    b'{"NameContains": "\\ud800"}',
    b'{"NameContains": "\xff"}',
    b"[]",
    b"null",
    b'"text"',
    b"{" + b'"a":1,' * 1_000 + b'"a":1}',
    b'{"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/../\\u0000/x"}',
    b'{"EndpointName": "../../x", "TrainingJobName": "a\\u0000", "ModelName": ".."}',
]


def test_hostile_bodies_are_refused_by_every_operation(quick: Emulator) -> None:
    found = {}
    prefixes = {"sagemaker": "SageMaker", "logs": "Logs_20140328"}
    for service, operations in quick.plane.operations.items():
        for operation in operations:
            for number, body in enumerate(HOSTILE if operation in SOME else HOSTILE[3:]):
                target = {"X_Amz_Target": f"{prefixes[service]}.{operation}"}
                answer = asked(quick, "POST", "/", body, service=service, **target)
                found[operation, number] = answer.status
                assert answer.json()["__type" if answer.status != 200 else next(iter(answer.json()), "")] is not None
    assert {key: status for key, status in found.items() if status not in (200, 400)} == {}
    assert sum(status == 200 for status in found.values()) < 20


SOME = ("ListModels", "Search", "CreateTrainingJob", "GetLogEvents")


@pytest.mark.parametrize(
    "body", [deep("[", "]"), b'{"preset": []}', b'{"operation": 1}', b'{"operation": "x", "status": 1e999}', b"[]"]
)
def test_hostile_switches_are_refused(quick: Emulator, body: bytes) -> None:
    for what in ("faults", "interruptions"):
        assert asked(quick, "POST", f"/_emulator/{what}", body).status == 400
    assert asked(quick, "POST", "/_emulator/interruptions", b'{"TrainingJobName": "../x"}').status == 400


def test_an_endpoints_name_is_no_path(quick: Emulator) -> None:
    for name in ("..", "%2e%2e", "a%00b", "x" * 300):
        answer = asked(quick, "POST", f"/endpoints/{name}/invocations", b"x", service="sagemaker")
        assert 400 <= answer.status < 500, (name, answer.data)


def test_a_body_that_is_too_large_is_refused(quick: Emulator) -> None:
    target = {"X_Amz_Target": "SageMaker.ListModels"}
    answer = asked(quick, "POST", "/", b" " * (27 << 20), service="sagemaker", **target)
    assert answer.status == 413


@pytest.mark.parametrize(("parallel", "jobs"), [(500, 500), (11, 20), (10, 751)])
def test_a_tuning_job_has_awss_quotas(
    quick: Emulator, quick_client: Clients, quick_bucket: str, parallel: int, jobs: int
) -> None:
    config: dict[str, Any] = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
        "ParameterRanges": {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9999"}]},
    }
    request = tuning_job(quick_client, quick_bucket, "too-many", "print('loss=1')", config)
    with pytest.raises(ClientError, match="account-level service limit") as caught:
        quick_client("sagemaker").create_hyper_parameter_tuning_job(**request)
    assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
    assert not [each for each in quick.plane.local.list_jobs() if each.name.startswith("too-many")]


def test_switches_can_be_set_with_curl_as_documented(quick: Emulator, quick_client: Clients) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl isn't installed")
    keys = f"{quick.credentials.access_key}:{quick.credentials.secret_key}"
    signed = ["curl", "-s", "--aws-sigv4", "aws:amz:us-east-1:emulator", "--user", keys]
    fault = json.dumps({"operation": "ListModels", "preset": "throttling"})
    url = f"{quick.url}/_emulator"
    subprocess.run([*signed, f"{url}/faults", "-H", "Content-Type: application/json", "-d", fault], check=True)
    with pytest.raises(ClientError, match="Rate exceeded"):
        quick_client("sagemaker", config=ONCE).list_models()
    done = subprocess.run([*signed, f"{url}/calls"], check=True, capture_output=True, text=True)
    assert [each["operation"] for each in json.loads(done.stdout)] == ["ListModels"]
