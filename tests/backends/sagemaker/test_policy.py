"""The IAM policies: exactly the calls in the sources, only on breedclf's resources, and within IAM's limits."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

import breedclf.backends.sagemaker as package
from breedclf.backends.sagemaker.account.policy import (
    SCHEDULER,
    Scope,
    caller_policy,
    end_role_policy,
    role_policy,
    trust_policy,
)
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import S3Location

ROLE = "arn:aws:iam::111122223333:role/breedclf"
END_ROLE = "arn:aws:iam::111122223333:role/breedclf-end"
MAX_CHARS = 6_144  # of a managed policy, blanks not counted
SERVICES = ("sagemaker", "sagemaker-runtime", "s3", "logs", "cloudwatch", "sts", "scheduler")
# What IAM calls the permissions of operations that aren't named like them; None needs no permission of its own.
IAM_NAMES: dict[str, str | None] = {
    "sagemaker-runtime:InvokeEndpoint": "sagemaker:InvokeEndpoint",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}
TRANSFERS = {"upload_file": "PutObject", "upload_fileobj": "PutObject", "download_file": "GetObject"}
# Asked for by AWS beside the calls themselves: tags on what is made, the end of an upload that was cut, the role.
IMPLIED = {"sagemaker:AddTags", "s3:AbortMultipartUpload", "iam:PassRole"}


def settings(**changes: object) -> SageMakerSettings:
    return SageMakerSettings(**{"role": ROLE, "region": "eu-west-1", "bucket": "images", **changes})


def calls_of_the_sources() -> set[str]:
    """The permissions for all operations that the backend's sources call on boto3 clients."""
    names: dict[str, str] = {}
    for service in SERVICES:
        client = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        names |= {method: f"{service}:{api}" for method, api in client.meta.method_to_api_mapping.items()}
    names |= {method: f"s3:{api}" for method, api in TRANSFERS.items()}
    found = set()
    for file in sorted(Path(package.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            words = [node.func.attr]
            if node.func.attr in ("get_paginator", "get_waiter") and isinstance(node.args[0], ast.Constant):
                words.append(node.args[0].value)
            found |= {names[word] for word in words if word in names}
    return {action for each in found if (action := IAM_NAMES.get(each, each)) is not None}


def allowed_actions(policy: dict[str, Any]) -> set[str]:
    """Every action that a policy allows."""
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_the_caller_may_do_exactly_what_the_sources_do() -> None:
    full = settings(bucket=None, endpoint_end_role=END_ROLE)
    policy = caller_policy(full, Scope.of(full))
    called, allowed = calls_of_the_sources() - IMPLIED, allowed_actions(policy) - IMPLIED
    assert called - allowed == set(), "calls that no policy allows"
    assert allowed - called == set(), "permissions that nothing asks for"
    assert allowed_actions(policy) >= IMPLIED


def test_the_role_is_passed_to_sagemaker_alone() -> None:
    statements = caller_policy(settings(), Scope.of(settings()))["Statement"]
    passing = [each for each in statements if "iam:PassRole" in each["Action"]]
    assert [(each["Resource"], each["Condition"]) for each in passing] == [
        ([ROLE], {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})
    ]
    assert trust_policy()["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_the_role_that_ends_endpoints_may_do_nothing_else_and_is_the_schedulers_alone() -> None:
    ending = settings(endpoint_end_role=END_ROLE)
    assert allowed_actions(end_role_policy(Scope.of(ending))) == {"sagemaker:DeleteEndpoint"}
    assert trust_policy(SCHEDULER)["Statement"][0]["Principal"] == {"Service": "scheduler.amazonaws.com"}
    passing = {
        each["Resource"][0]: each["Condition"]["StringEquals"]["iam:PassedToService"]
        for each in caller_policy(ending, Scope.of(ending))["Statement"]
        if "iam:PassRole" in each["Action"]
    }
    assert passing == {ROLE: "sagemaker.amazonaws.com", END_ROLE: "scheduler.amazonaws.com"}
    assert not any(
        action.startswith("scheduler:") for action in allowed_actions(caller_policy(settings(), Scope.of(settings())))
    )


def test_what_is_made_must_be_tagged_and_only_that_can_be_changed() -> None:
    for statement in caller_policy(settings(), Scope.of(settings()))["Statement"]:
        for action in statement["Action"]:
            verb = action.partition(":")[2]
            if verb.endswith("ModelPackage"):  # packages use the tags of their group, and have none of their own
                continue
            if re.match(r"Create", verb) and action.startswith("sagemaker"):
                assert statement["Condition"] == {"Null": {"aws:RequestTag/breedclf": "false"}}
            elif verb == "AddTags":
                assert statement["Sid"] in ("MakeTagged", "ChangeOwn")
            elif re.match(r"(Delete|Stop|Update|Invoke)", verb) and action.startswith("sagemaker"):
                assert statement["Condition"] == {"Null": {"aws:ResourceTag/breedclf": "false"}}


def test_nothing_reaches_beyond_the_prefix_the_account_and_the_region() -> None:
    for make in (caller_policy, role_policy):
        for statement in make(settings(), Scope.of(settings()))["Statement"]:
            for resource in statement["Resource"]:
                if resource == "*":
                    assert all(
                        re.match(r"(ecr:GetAuthorizationToken|sagemaker:(List|Search)|sts:|cloudwatch:)", action)
                        for action in statement["Action"]
                    ), statement
                elif ":s3:::" in resource:
                    assert resource.startswith("arn:aws:s3:::images")
                    assert "/breedclf/" in resource or "s3:prefix" in json.dumps(statement.get("Condition"))
                else:
                    assert re.search(r":(111122223333|\*):|::111122223333:", resource), resource
                    assert "*" not in resource.split(":")[4] or ":ecr:" in resource


def test_the_role_reads_below_the_prefix_and_writes_below_jobs() -> None:
    statements = role_policy(settings(), Scope.of(settings()))["Statement"]
    objects = {action: each["Resource"] for each in statements for action in each["Action"] if "Object" in action}
    assert objects == {
        "s3:GetObject": ["arn:aws:s3:::images/breedclf/*"],
        "s3:PutObject": ["arn:aws:s3:::images/breedclf/jobs/*"],
    }


def test_keys_vpc_and_images_come_in_when_they_are_set() -> None:
    plain = allowed_actions(role_policy(settings(), Scope.of(settings())))
    assert not {action for action in plain if action.startswith(("kms:", "ec2:"))}
    image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own/train:1"
    full = settings(
        output_kms_key="1234",
        volume_kms_key="arn:aws:kms:eu-west-1:111122223333:key/5678",
        subnets="subnet-1",
        security_groups="sg-1",
        image=image,
        serving_image=image.replace("train", "serve"),
    )
    policy = role_policy(full, Scope.of(full))
    assert {"kms:CreateGrant", "kms:GenerateDataKey", "ec2:CreateNetworkInterface"} <= allowed_actions(policy)
    resources = {each["Sid"]: each["Resource"] for each in policy["Statement"]}
    assert resources["PullImages"] == [
        "arn:aws:ecr:eu-west-1:111122223333:repository/own/train",
        "arn:aws:ecr:eu-west-1:111122223333:repository/own/serve",
    ]
    assert resources["EncryptDisks"] == ["arn:aws:kms:eu-west-1:111122223333:key/5678"]
    assert "arn:aws:kms:eu-west-1:111122223333:key/1234" in resources["UseKeys"]
    for make in (caller_policy, role_policy):
        text = json.dumps(make(full, Scope.of(full)), separators=(",", ":"))
        assert len(text) <= MAX_CHARS


PAGES = Path(__file__).parents[3] / "docs"


def test_what_the_pages_upload_and_train_on_is_allowed_by_the_printed_policies() -> None:
    """The caller and the role may read and write every S3 URI in the documentation."""
    own = settings(bucket="my-bucket")
    named = [
        (page.name, uri)
        for page in sorted(PAGES.rglob("*.md"))
        for block in re.findall(r"```(?:console|sh|py\w*)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for uri in re.findall(r"s3://(my-bucket/[\w\-./]+)", block)
    ]
    assert {page for page, _ in named} >= {"sagemaker.md", "cli.md"}
    for action, policy in (
        ("s3:PutObject", caller_policy(own, Scope.of(own))),
        ("s3:GetObject", caller_policy(own, Scope.of(own))),
        ("s3:GetObject", role_policy(own, Scope.of(own))),
    ):
        allowed = [
            resource.partition(":::")[2]
            for statement in policy["Statement"]
            if action in statement["Action"]
            for resource in statement["Resource"]
        ]
        for page, uri in named:
            assert any(fnmatch.fnmatchcase(f"{uri}/train/dog.jpg", pattern) for pattern in allowed), (page, uri, action)


def test_missing_settings_are_reported() -> None:
    with pytest.raises(ConfigError, match="no role is set: pass --role-arn or --account"):
        Scope.of(SageMakerSettings(region="eu-west-1"))
    with pytest.raises(ConfigError, match="no AWS region is configured"):
        Scope.of(SageMakerSettings(role=ROLE))
    with pytest.raises(ConfigError, match="is not a role ARN"):
        Scope.of(SageMakerSettings(role="breedclf", region="eu-west-1"))
    with pytest.raises(ConfigError, match="is an alias, which policies don't support"):
        role_policy(settings(output_kms_key="alias/images"), Scope.of(settings()))
    found = Scope.of(SageMakerSettings(), region="cn-north-1", account="111122223333")
    assert (found.role, found.bucket) == (ROLE, "sagemaker-cn-north-1-111122223333")


def test_jobs_may_list_read_and_write_a_feature_store_and_nothing_beside_it() -> None:
    policy = role_policy(settings(), Scope.of(settings()), S3Location.parse("s3://features/dogs"))
    added = [
        each for each in policy["Statement"] if each not in role_policy(settings(), Scope.of(settings()))["Statement"]
    ]
    assert [(each["Action"], each["Resource"]) for each in added] == [
        (["s3:ListBucket"], ["arn:aws:s3:::features"]),
        (["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::features/dogs/*"]),
    ]
    assert added[0]["Condition"] == {"StringLike": {"s3:prefix": ["dogs/*"]}}
