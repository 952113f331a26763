"""Minimal IAM policies for breedclf: the role's trust policy, and the permissions of jobs and of the caller."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.tags import TAG
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import S3Location

_SERVICE, SCHEDULER = "sagemaker.amazonaws.com", "scheduler.amazonaws.com"
_ROLE = re.compile(r"arn:(?P<partition>aws[a-z\-]*):iam::(?P<account>\d{12}):role/.+")
_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9\-]+)\.amazonaws\.com[a-z.]*/(?P<name>[^:@]+)")
_KEY = re.compile(r"arn:[a-z\-]+:kms:.+")
# The accounts of AWS's images differ by region, their names don't.
_OWN_IMAGES = ("pytorch-training", "pytorch", "ray", "pytorch-inference", "sagemaker-debugger-rules")

_CREATED = {
    "CreateTrainingJob": ("training-job",),
    "CreateHyperParameterTuningJob": ("hyper-parameter-tuning-job",),
    "CreateTransformJob": ("transform-job",),
    "CreateModel": ("model",),
    "CreateEndpointConfig": ("endpoint-config",),
    "CreateEndpoint": ("endpoint", "endpoint-config"),
    "CreateModelPackageGroup": ("model-package-group",),
    "AddTags": (),
}
_CHANGED = {
    "StopTrainingJob": ("training-job",),
    "DeleteTrainingJob": ("training-job",),
    "StopHyperParameterTuningJob": ("hyper-parameter-tuning-job",),
    "StopTransformJob": ("transform-job",),
    "UpdateEndpoint": ("endpoint", "endpoint-config"),
    "DeleteModel": ("model",),
    "DeleteEndpointConfig": ("endpoint-config",),
    "DeleteEndpoint": ("endpoint",),
    "InvokeEndpoint": ("endpoint",),
    "DeleteModelPackageGroup": ("model-package-group",),
    "AddTags": (),
}
# Packages have no tags of their own.
_PACKAGES = ("CreateModelPackage", "DescribeModelPackage", "UpdateModelPackage", "DeleteModelPackage")
_DESCRIBED = {
    "DescribeTrainingJob": ("training-job",),
    "DescribeHyperParameterTuningJob": ("hyper-parameter-tuning-job",),
    "ListTrainingJobsForHyperParameterTuningJob": ("hyper-parameter-tuning-job",),
    "DescribeTransformJob": ("transform-job",),
    "DescribeModel": ("model",),
    "DescribeEndpointConfig": ("endpoint-config",),
    "DescribeEndpoint": ("endpoint",),
    "DescribeModelPackageGroup": ("model-package-group",),
}
_LISTED = (
    "ListHyperParameterTuningJobs",
    "ListTransformJobs",
    "ListModels",
    "ListEndpointConfigs",
    "ListEndpoints",
    "ListModelPackageGroups",
    "ListModelPackages",
    "ListTags",
    "Search",
)
_KINDS = (
    "training-job",
    "hyper-parameter-tuning-job",
    "transform-job",
    "model",
    "endpoint-config",
    "endpoint",
    "model-package-group",
)
_LOG_GROUPS = ("TrainingJobs", "TransformJobs", "Endpoints")
_CALLER_LOGS = ("logs:DescribeLogStreams", "logs:GetLogEvents", "logs:DeleteLogStream")
_CALLER_OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
# Permissions that SageMaker needs to run containers in a VPC.
_VPC = (
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)


@dataclass(frozen=True)
class Scope:
    """The scope of the policies: partition, account, region, role, bucket and prefix."""

    partition: str
    account: str
    region: str
    role: str
    bucket: str
    prefix: str

    @classmethod
    def of(cls, settings: SageMakerSettings, *, region: str | None = None, account: str | None = None) -> Self:
        """The scope of settings, completed with `region` and `account`.

        Raises:
            ConfigError: the role, the region or the account is unknown.
        """
        role = settings.role
        if role is None and account is not None:
            role = f"arn:aws:iam::{account}:role/breedclf"
        region = settings.region or region
        if role is None:
            raise ConfigError(
                "no role is set: pass --role-arn or --account, or set BREEDCLF_SAGEMAKER_ROLE to the ARN of the "
                "role that jobs run as (it need not exist yet)"
            )
        found = _ROLE.fullmatch(role)
        if found is None:
            raise ConfigError(f"role={role!r} is not a role ARN such as arn:aws:iam::111122223333:role/breedclf")
        if region is None:
            raise ConfigError("no AWS region is configured: pass --region or set AWS_DEFAULT_REGION")
        bucket = settings.bucket or f"sagemaker-{region}-{found['account']}"
        return cls(found["partition"], found["account"], region, role, bucket, settings.prefix.strip("/"))

    def sagemaker(self, kinds: Iterable[str]) -> list[str]:
        return [f"arn:{self.partition}:sagemaker:{self.region}:{self.account}:{kind}/*" for kind in kinds]

    def objects(self, *below: str) -> list[str]:
        return [f"arn:{self.partition}:s3:::{self.bucket}/{self.prefix}/{each}*" for each in below]

    def log_groups(self) -> list[str]:
        where = f"arn:{self.partition}:logs:{self.region}:{self.account}:log-group:/aws/sagemaker"
        return [f"{where}/{group}:*" for group in _LOG_GROUPS]


def trust_policy(service: str = _SERVICE) -> dict[str, Any]:
    """The trust policy of a role: only one service may assume it, SageMaker by default."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def end_role_policy(scope: Scope) -> dict[str, Any]:
    """Permissions of `endpoint_end_role`: delete endpoints that breedclf created."""
    condition = {"Null": {f"aws:ResourceTag/{TAG}": "false"}}
    statement = _allow("DeleteOwnEndpoints", ["sagemaker:DeleteEndpoint"], scope.sagemaker(["endpoint"]), condition)
    return {"Version": "2012-10-17", "Statement": [statement]}


def role_policy(settings: SageMakerSettings, scope: Scope, feature_store: S3Location | None = None) -> dict[str, Any]:
    """Permissions of jobs and endpoints: read below the prefix, write below PREFIX/jobs, pull images, write logs.

    With a feature store in S3 also: list, read and write below its prefix.

    Example:
        >>> settings = SageMakerSettings(role="arn:aws:iam::111122223333:role/breedclf", region="us-east-1")
        >>> policy = role_policy(settings, Scope.of(settings))
        >>> policy["Statement"][1]["Resource"]
        ['arn:aws:s3:::sagemaker-us-east-1-111122223333/breedclf/jobs/*']
    """
    images = [image for image in (settings.image, settings.serving_image) if image]
    statements = [
        _allow("ReadBelowPrefix", ["s3:GetObject"], scope.objects("")),
        _allow("WriteBelowJobs", ["s3:PutObject", "s3:AbortMultipartUpload"], scope.objects("jobs/")),
        _list_bucket(scope),
        _allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "PullImages",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            _repositories(images, scope),
        ),
        _allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            scope.log_groups(),
        ),
        _allow(
            "ReportMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        ),
    ]
    if feature_store is not None:
        statements += _feature_store(feature_store, scope)
    if keys := _keys(settings, scope):
        statements.append(_allow("UseKeys", ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], keys))
    if settings.volume_kms_key:
        keys = _keys(settings.model_copy(update={"output_kms_key": None}), scope)
        condition = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements.append(_allow("EncryptDisks", ["kms:CreateGrant", "kms:DescribeKey"], keys, condition))
    if settings.subnets:
        statements.append(_allow("RunInVpc", _VPC, ["*"]))
    return {"Version": "2012-10-17", "Statement": statements}


def caller_policy(settings: SageMakerSettings, scope: Scope) -> dict[str, Any]:
    """Permissions of the user or process that runs breedclf: exactly the calls that it makes.

    New resources must have the tag `breedclf`, and only resources with it can be stopped, changed or deleted.
    """
    tagged, own = ({"Null": {f"aws:{which}/{TAG}": "false"}} for which in ("RequestTag", "ResourceTag"))
    statements = [
        _allow("MakeTagged", _actions(_CREATED), scope.sagemaker(_KINDS), tagged),
        _allow("ChangeOwn", _actions(_CHANGED), scope.sagemaker(_KINDS), own),
        _allow("LookAt", _actions(_DESCRIBED), scope.sagemaker(_KINDS)),
        _allow("UsePackages", _actions(_PACKAGES), scope.sagemaker(["model-package", "model-package-group"])),
        _allow("List", [*_actions(_LISTED), "sts:GetCallerIdentity"], ["*"]),
        _allow("ReadAndWriteBelowPrefix", _CALLER_OBJECTS, scope.objects("")),
        *_bucket(settings, scope),
        _allow("ReadMetrics", ["cloudwatch:GetMetricData"], ["*"]),
        _allow("ReadLogs", _CALLER_LOGS, scope.log_groups()),
        _allow("PassRole", ["iam:PassRole"], [scope.role], {"StringEquals": {"iam:PassedToService": _SERVICE}}),
    ]
    if settings.endpoint_end_role is not None:
        schedules = f"arn:{scope.partition}:scheduler:{scope.region}:{scope.account}:schedule/default/breedclf-*"
        condition = {"StringEquals": {"iam:PassedToService": SCHEDULER}}
        statements += [
            _allow("ScheduleEnds", ["scheduler:CreateSchedule", "scheduler:DeleteSchedule"], [schedules]),
            _allow("PassEndRole", ["iam:PassRole"], [settings.endpoint_end_role], condition),
        ]
    if keys := _keys(settings, scope):
        statements.append(_allow("UseKeys", ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], keys))
    if settings.volume_kms_key:
        condition = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        keys = _keys(settings.model_copy(update={"output_kms_key": None}), scope)
        statements.append(_allow("EncryptDisks", ["kms:CreateGrant"], keys, condition))
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(name: str, actions: Iterable[str], resources: list[str], condition: Any = None) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return statement if condition is None else {**statement, "Condition": condition}


def _actions(operations: Iterable[str]) -> list[str]:
    return [f"sagemaker:{operation}" for operation in operations]


def _list_bucket(scope: Scope) -> dict[str, Any]:
    below = {"StringLike": {"s3:prefix": [f"{scope.prefix}/*", scope.prefix]}}
    return _allow("ListBelowPrefix", ["s3:ListBucket"], [f"arn:{scope.partition}:s3:::{scope.bucket}"], below)


def _feature_store(store: S3Location, scope: Scope) -> list[dict[str, Any]]:
    bucket = f"arn:{scope.partition}:s3:::{store.bucket}"
    below = {"StringLike": {"s3:prefix": [f"{store.key}/*"]}}
    return [
        _allow("ListFeatures", ["s3:ListBucket"], [bucket], below),
        _allow("ReadAndWriteFeatures", ["s3:GetObject", "s3:PutObject"], [f"{bucket}/{store.key}/*"]),
    ]


def _bucket(settings: SageMakerSettings, scope: Scope) -> list[dict[str, Any]]:
    """List below the prefix; SageMaker's default bucket may also be checked and created."""
    bucket = f"arn:{scope.partition}:s3:::{scope.bucket}"
    if settings.bucket is not None:
        return [_list_bucket(scope)]
    return [_allow("FindOrMakeBucket", ["s3:CreateBucket", "s3:ListBucket"], [bucket])]


def _repositories(images: Iterable[str], scope: Scope) -> list[str]:
    """ARNs of the image repositories: those in the settings, otherwise AWS's own."""
    found = [_IMAGE.match(image) for image in images]
    named = [
        f"arn:{scope.partition}:ecr:{image['region']}:{image['account']}:repository/{image['name']}"
        for image in found
        if image is not None
    ]
    own = [f"arn:{scope.partition}:ecr:{scope.region}:*:repository/{name}" for name in _OWN_IMAGES]
    return named if len(named) == 2 else [*named, *own]


def _keys(settings: SageMakerSettings, scope: Scope) -> list[str]:
    keys = dict.fromkeys(key for key in (settings.volume_kms_key, settings.output_kms_key) if key)
    for key in keys:
        if "alias/" in key:
            raise ConfigError(
                f"KMS key {key!r} is an alias, which policies don't support: use the key's ARN, from "
                f"`aws kms describe-key --key-id {key}`"
            )
    where = f"arn:{scope.partition}:kms:{scope.region}:{scope.account}:key"
    return [key if _KEY.fullmatch(key) else f"{where}/{key.removeprefix('key/')}" for key in keys]
