"""The model registry at the emulator: groups, versions, approvals, and models made of approved packages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf.backends.emulator.server import Emulator, emulator
from breedclf.backends.local.backend import LocalBackend
from tests.backends.conftest import Clients, clients_at
from tests.backends.emulator.test_serving import OWN_IMAGE, in_service, upload_echo
from tests.backends.sagemaker.job_requests import ROLE, variant

ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def package_request(model_uri: str, **container: Any) -> dict[str, Any]:
    """CreateModelPackage without its group."""
    specification = {
        "Containers": [{"Image": OWN_IMAGE, "ModelDataUrl": model_uri, **container}],
        "SupportedContentTypes": ["image/jpeg"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    return {"InferenceSpecification": specification}


@pytest.fixture
def model_uri(quick_client: Clients, quick_bucket: str) -> str:
    return upload_echo(quick_client, quick_bucket, "packaged")


@pytest.fixture
def group(quick_client: Clients, quick_bucket: str) -> str:
    quick_client("sagemaker").create_model_package_group(ModelPackageGroupName=quick_bucket)
    return quick_bucket


def add(client: Clients, group: str, model_uri: str, **values: Any) -> str:
    request = {"ModelPackageGroupName": group, **package_request(model_uri), **values}
    return str(client("sagemaker").create_model_package(**request)["ModelPackageArn"])


def approve(client: Clients, arn: str) -> None:
    client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")


def test_versions_are_counted_and_never_used_again(quick_client: Clients, group: str, model_uri: str) -> None:
    sagemaker = quick_client("sagemaker")
    arns = [add(quick_client, group, model_uri) for _ in range(3)]
    assert arns == [f"{ARN}:model-package/{group}/{number}" for number in (1, 2, 3)]
    sagemaker.delete_model_package(ModelPackageName=arns[2])
    assert add(quick_client, group, model_uri).endswith("/4")
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, PaginationConfig={"PageSize": 2}
    )
    listed = [[each["ModelPackageVersion"] for each in page["ModelPackageSummaryList"]] for page in pages]
    assert listed == [[1, 2], [4]]
    newest = sagemaker.list_model_packages(ModelPackageGroupName=group, SortOrder="Descending", MaxResults=1)
    assert newest["ModelPackageSummaryList"][0]["ModelPackageVersion"] == 4
    assert sagemaker.list_model_packages(NameContains=group)["ModelPackageSummaryList"] == []
    both = sagemaker.list_model_packages(NameContains=group, ModelPackageType="Both")
    assert len(both["ModelPackageSummaryList"]) == 3


def test_a_client_token_makes_a_call_idempotent(quick_client: Clients, group: str, model_uri: str) -> None:
    assert len({add(quick_client, group, model_uri, ClientToken="once") for _ in range(2)}) == 1
    assert add(quick_client, group, model_uri, ClientToken="twice").endswith("/2")


def test_approvals_and_metadata_are_changed(quick_client: Clients, group: str, model_uri: str) -> None:
    sagemaker = quick_client("sagemaker")
    arn = add(quick_client, group, model_uri, CustomerMetadataProperties={"data": "dogs", "old": "1"})
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"new": "2"},
        CustomerMetadataPropertiesToRemove=["old"],
    )
    described = sagemaker.describe_model_package(ModelPackageName=f"{group}/1")
    assert described["CustomerMetadataProperties"] == {"data": "dogs", "new": "2"}
    approved = {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved"}
    assert len(sagemaker.list_model_packages(**approved)["ModelPackageSummaryList"]) == 1
    assert (
        sagemaker.list_model_packages(**{**approved, "ModelApprovalStatus": "Rejected"})["ModelPackageSummaryList"]
        == []
    )


def test_a_group_has_tags_and_is_deleted_once_it_is_empty(quick_client: Clients, quick_bucket: str, model_uri) -> None:
    sagemaker, name = quick_client("sagemaker"), quick_bucket
    tags = [{"Key": "team", "Value": "dogs"}]
    arn = sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=tags)["ModelPackageGroupArn"]
    assert arn == f"{ARN}:model-package-group/{name}"
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    package = add(quick_client, arn, model_uri)
    with pytest.raises(sagemaker.exceptions.ConflictException, match="it has model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName=arn)
    with pytest.raises(ClientError, match=f"ModelPackageGroup {arn} does not exist."):
        sagemaker.describe_model_package_group(ModelPackageGroupName=name)


def test_refusals_are_awss(quick: Emulator, quick_client: Clients, group: str, model_uri: str) -> None:
    sagemaker = quick_client("sagemaker")
    base = package_request(model_uri)
    west = quick.session().client("sagemaker", endpoint_url=quick.url, region_name="eu-west-1")
    missing = f"ModelPackage {ARN}:model-package/{group}/9 does not exist."
    elsewhere = f"ModelPackageGroup arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/{group} does not exist"
    in_group = {"ModelPackageGroupName": group}
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (sagemaker.create_model_package_group, in_group, f"Model Package Group already exists: {ARN}"),
        (sagemaker.describe_model_package, {"ModelPackageName": f"{group}/9"}, missing),
        (sagemaker.delete_model_package, {"ModelPackageName": f"{ARN}:model-package/{group}/9"}, missing),
        (sagemaker.update_model_package, {"ModelPackageArn": f"{ARN}:model-package/{group}/9"}, missing),
        (sagemaker.create_model_package, {**base, "ModelPackageGroupName": "nobody"}, "nobody does not exist."),
        (sagemaker.create_model_package, base, "Missing ARN."),
        (sagemaker.create_model_package, {**base, **in_group, "ModelPackageName": "x"}, "Cannot determine which one"),
        (sagemaker.create_model_package, {**base, "ModelPackageName": "x"}, "without a group aren't emulated"),
        (sagemaker.create_model_package, {**base, **in_group, "SourceUri": "x"}, "SourceUri isn't emulated"),
        (
            sagemaker.create_model_package,
            {**base, **in_group, "Tags": [{"Key": "a", "Value": "b"}]},
            "uses the tags of the group",
        ),
        (sagemaker.create_model_package, in_group, "exactly one container"),
        (
            sagemaker.create_model_package,
            {**in_group, **package_request(f"{model_uri}-none")},
            "Could not find model data at",
        ),
        (
            sagemaker.create_model_package,
            {**in_group, **package_request(model_uri, Image="mine:1")},
            "is not in a registry that SageMaker supports",
        ),
        (west.describe_model_package_group, in_group, elsewhere),
    ]
    for call, request, message in cases:
        with pytest.raises(ClientError, match=re.escape(message)) as caught:
            call(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert sagemaker.list_model_packages(**in_group)["ModelPackageSummaryList"] == []


def test_an_approved_package_is_served(quick_client: Clients, group: str, model_uri: str) -> None:
    sagemaker, runtime = quick_client("sagemaker"), quick_client("sagemaker-runtime")
    arn = add(quick_client, group, model_uri)
    request = {"ModelName": group, "ExecutionRoleArn": ROLE, "Containers": [{"ModelPackageName": arn}]}
    with pytest.raises(ClientError, match="is PendingManualApproval; it must be Approved"):
        sagemaker.create_model(**request)
    approve(quick_client, arn)
    with pytest.raises(ClientError, match="ModelPackageName and Image can't be given together"):
        sagemaker.create_model(**{**request, "Containers": [{"ModelPackageName": arn, "Image": OWN_IMAGE}]})
    sagemaker.create_model(**request)
    assert sagemaker.describe_model(ModelName=group)["Containers"][0]["ModelPackageName"] == arn
    sagemaker.create_endpoint_config(EndpointConfigName=group, ProductionVariants=variant(group))
    sagemaker.create_endpoint(EndpointName=group, EndpointConfigName=group)
    in_service(quick_client, group)
    body = runtime.invoke_endpoint(EndpointName=group, Body=b"x", ContentType="text/csv")["Body"].read()
    assert json.loads(body)["word"] == "packaged"
    sagemaker.delete_endpoint(EndpointName=group)


def test_packages_survive_a_restart(tmp_path: Any) -> None:
    def started() -> Any:
        return emulator(LocalBackend(tmp_path / "home", cores=1))

    with started() as running:
        client = clients_at(running)
        client("s3").create_bucket(Bucket="registry-bucket")
        client("sagemaker").create_model_package_group(ModelPackageGroupName="kept")
        add(client, "kept", upload_echo(client, "registry-bucket", "word"))
    with started() as running:
        listed = clients_at(running)("sagemaker").list_model_packages(ModelPackageGroupName="kept")
        assert [each["ModelPackageVersion"] for each in listed["ModelPackageSummaryList"]] == [1]
