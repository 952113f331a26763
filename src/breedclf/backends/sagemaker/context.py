"""`AwsContext`: one account and region with one set of settings, shared by all parts of the SageMaker backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf._version import __version__
from breedclf.backends.sagemaker.aws_errors import error_code, is_missing, no_bucket, translate_aws_errors
from breedclf.backends.sagemaker.clients import AwsClients
from breedclf.backends.sagemaker.cost.estimate import estimate, require_affordable
from breedclf.backends.sagemaker.cost.rates import Rates
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.tags import OWNER_TAG, PURPOSE_TAG, TAG, owner_tag_value
from breedclf.errors import BreedclfError, ConfigError
from breedclf.jobs.handle import Clock
from breedclf.jobs.plan import ApiCall, Plan

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AwsContext:
    """Settings, clients, local folder and clock, and what follows from them; AWS is called on first use and cached."""

    settings: SageMakerSettings
    clients: AwsClients
    home: Path
    clock: Clock

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for contexts with the same settings, profile and folder, whose jobs are the same."""
        return repr(self.settings), getattr(self.clients.session, "profile_name", None), self.home

    @cached_property
    def region(self) -> str:
        """The region of the clients."""
        return str(self.clients("sagemaker").meta.region_name)

    @cached_property
    def account(self) -> str:
        """The account of the credentials."""
        return str(self._identity["Account"])

    @cached_property
    def owner(self) -> str | None:
        """The ARN of the caller; None if AWS doesn't reveal it.

        Example:
            `arn:aws:iam::111122223333:user/ann`, or `arn:aws:sts::111122223333:assumed-role/Team/ann@example.com`.
        """
        try:
            return owner_tag_value(str(self._identity["Arn"]))
        except BreedclfError as error:
            log.warning("%s; new resources get no owner tag, so `breedclf sagemaker clean` will not delete them", error)
            return None

    @cached_property
    def _identity(self) -> Mapping[str, str]:
        with translate_aws_errors("getting the caller's identity", as_=ConfigError):
            return dict(self.clients("sts").get_caller_identity())

    @property
    def role(self) -> str:
        """The IAM role that jobs and endpoints run as.

        Raises:
            ConfigError: it isn't set.
        """
        if self.settings.role is None:
            raise ConfigError(
                'no IAM role is set: pass SageMakerBackend(role="arn:aws:iam::ACCOUNT:role/NAME") or set '
                "BREEDCLF_SAGEMAKER_ROLE; `breedclf sagemaker policy` prints the permissions that the role needs"
            )
        return self.settings.role

    @cached_property
    def bucket(self) -> str:
        """The bucket of the settings, or SageMaker's default bucket of this account and region, created if missing."""
        return self.settings.bucket or self._default_bucket()

    @cached_property
    def storage(self) -> Storage:
        """Objects in S3, encrypted with the key of the settings."""
        return Storage(self.clients("s3"), kms_key=self.settings.output_kms_key, region=self.region)

    def uri(self, *parts: str) -> str:
        """The S3 URI of a path below the prefix.

        Example:
            `context.uri("jobs", "train-1")` is "s3://BUCKET/breedclf/jobs/train-1".
        """
        return "/".join((f"s3://{self.bucket}/{self.settings.prefix}", *parts))

    def check_bucket(self) -> None:
        """Check once that the bucket exists and is in this region, before anything is uploaded.

        Raises:
            ConfigError: it doesn't exist, is in another region, or the caller may not use it.
        """
        _ = self._checked_bucket

    @cached_property
    def _checked_bucket(self) -> str:
        self.check_region(self.bucket)
        return self.bucket

    def check_region(self, bucket: str) -> None:
        """Check that a bucket exists and is in this region; its owner may forbid to find out.

        Raises:
            ConfigError: it doesn't exist, or is in another region.
        """
        with translate_aws_errors(f"checking bucket {bucket}", as_=ConfigError):
            found = bucket_region(self.clients("s3"), bucket)
        if found is not None and found != self.region:
            raise ConfigError(
                f"bucket {bucket} is in {found}, but jobs and endpoints run in {self.region} and can't use "
                f"buckets of other regions; use a bucket in {self.region}, or region={found!r}"
            )

    def tags(
        self, purpose: str, extra: Mapping[str, str] | None = None, *, owned: bool = False
    ) -> list[dict[str, str]]:
        """The user's tags and breedclf's own, by which its resources are found.

        `owned` adds the owner, which calls AWS once: use it for requests that are sent, not for those only shown.
        """
        owner = {OWNER_TAG: self.owner} if owned and self.owner else {}
        pairs = {**self.settings.tags, TAG: __version__, PURPOSE_TAG: purpose, **owner, **(extra or {})}
        return [{"Key": key, "Value": value} for key, value in pairs.items()]

    def resource_tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource.

        Raises:
            ClientError: AWS refuses to list them.
        """
        pages = self.clients("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    @cached_property
    def rates(self) -> Rates:
        """The rate table of the settings, or the one that ships with breedclf."""
        return Rates.load(self.settings.rates)

    def estimate(
        self, calls: Sequence[ApiCall], *, seconds: float | None = None, replaced: Mapping[str, Any] | None = None
    ) -> Plan:
        """The plan for calls, by the rate table; `seconds` and `replaced` as in `cost.estimate.estimate`."""
        ended = self.settings.endpoint_end_role is not None
        return estimate(calls, self.rates, region=self.region, seconds=seconds, ended_by_aws=ended, replaced=replaced)

    def require_affordable(
        self,
        calls: Sequence[ApiCall],
        *,
        seconds: float | None = None,
        replaced: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Check calls against `max_cost`, if that is set.

        Args:
            calls: the calls that would be sent.
            seconds: lifetime of an endpoint; None if unlimited.
            replaced: returns the endpoint configuration that an update replaces.

        Raises:
            ConfigError: they may cost more, or the cost is unknown.
        """
        if self.settings.max_cost is not None:
            before = None if replaced is None else replaced()
            require_affordable(self.estimate(calls, seconds=seconds, replaced=before), self.settings.max_cost)

    def _default_bucket(self) -> str:
        name = f"sagemaker-{self.region}-{self.account}"
        s3 = self.clients("s3")
        with translate_aws_errors(f"checking bucket {name}", as_=ConfigError):
            try:
                s3.head_bucket(Bucket=name, ExpectedBucketOwner=self.account)
            except ClientError as error:
                if not is_missing(error):
                    raise
                location = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
                s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": location} if location else {}))
        return name


def bucket_region(s3: Any, bucket: str) -> str | None:
    """The region of a bucket; None if S3 doesn't report it.

    Raises:
        ConfigError: the bucket doesn't exist.
        ClientError: another error of S3.
    """
    try:
        response = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        response = error.response
        if is_missing(error):
            raise ConfigError(no_bucket(bucket)) from error
        # A caller who may list only below a prefix is denied here, but the headers still contain the region.
        if _region_in(response) is None and error_code(error) not in ("403", "AccessDenied", "Forbidden"):
            raise
    return _region_in(response)


def _region_in(response: Mapping[str, Any]) -> str | None:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = response.get("BucketRegion") or headers.get("x-amz-bucket-region")
    return None if found is None else str(found)
