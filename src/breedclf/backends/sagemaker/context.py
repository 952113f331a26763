"""What all parts of the SageMaker back end share: the settings, the clients, the bucket and the names in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf._version import __version__
from breedclf.backends.common.folder import home_folder
from breedclf.backends.sagemaker.account.rates import Rates
from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import AwsClients, error_code, told
from breedclf.backends.sagemaker.endpoints.request import tag_text
from breedclf.backends.sagemaker.plan import Plan, plan_of
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import BreedclfError, ConfigError
from breedclf.jobs.handle import Clock

log: logging.Logger = logging.getLogger(__name__)

TAG = "breedclf"
PURPOSE_TAG = "breedclf-purpose"
OWNER_TAG = "breedclf-user"
_RANDOM_SESSION = re.compile(r"/(botocore-session-\d+|aws-cli-\S+|aws-sdk-\S+|\d{10,})$")


class Place:
    """One account's SageMaker in one region, seen with one group of settings."""

    def __init__(
        self, settings: SageMakerSettings, clients: AwsClients, *, home: str | Path | None, clock: Clock
    ) -> None:
        self.settings = settings
        self.clients = clients
        self.home = home_folder(home)
        self._clock = clock
        self._bucket_is_checked = False

    @cached_property
    def region(self) -> str:
        """The region that is worked in."""
        return str(self.clients("sagemaker").meta.region_name)

    @cached_property
    def account(self) -> str:
        """The account of the credentials, which AWS is asked for once."""
        return str(self._identity["Account"])

    @cached_property
    def owner(self) -> str | None:
        """Who the credentials belong to, as an ARN; None where AWS doesn't say.

        Example:
            `arn:aws:iam::111122223333:user/ann`, or `arn:aws:sts::111122223333:assumed-role/Team/ann@example.com`.
        """
        try:
            return owner_of(str(self._identity["Arn"]))
        except BreedclfError as error:
            log.warning("%s; what is made now is not marked as yours, and `breedclf sagemaker clean` leaves it", error)
            return None

    @cached_property
    def _identity(self) -> Mapping[str, str]:
        with told("asking whose credentials these are", ConfigError):
            return dict(self.clients("sts").get_caller_identity())

    @property
    def role(self) -> str:
        """The role that jobs and endpoints run as.

        Raises:
            ConfigError: none is set.
        """
        if self.settings.role is None:
            raise ConfigError(
                'no IAM role is set: give SageMakerBackend(role="arn:aws:iam::ACCOUNT:role/NAME") or set '
                "BREEDCLF_SAGEMAKER_ROLE; `breedclf sagemaker policy` prints what the role must be allowed"
            )
        return self.settings.role

    @cached_property
    def bucket(self) -> str:
        """The bucket of the settings, or SageMaker's own for this account and region, made if it isn't there."""
        return self.settings.bucket or self._default_bucket()

    @cached_property
    def storage(self) -> Storage:
        """Objects in S3, written with the key of the settings."""
        return Storage(self.clients("s3"), kms_key=self.settings.output_kms_key, region=self.region)

    def uri(self, *parts: str) -> str:
        """The address of something below the prefix.

        Example:
            `place.uri("jobs", "train-1")` is "s3://BUCKET/breedclf/jobs/train-1".
        """
        return "/".join((f"s3://{self.bucket}/{self.settings.prefix}", *parts))

    def check_bucket(self) -> None:
        """Ask S3 once whether the bucket is there and in this region, before anything is uploaded.

        Raises:
            ConfigError: it isn't, or isn't the caller's to use.
        """
        if self._bucket_is_checked:
            return
        with told(f"looking for bucket {self.bucket}", ConfigError):
            found = bucket_region(self.clients("s3"), self.bucket)
        if found is not None and found != self.region:
            raise ConfigError(
                f"bucket {self.bucket} is in {found}, but jobs and endpoints run in {self.region} and use no other "
                f"region's buckets; choose a bucket of {self.region}, or region={found!r}"
            )
        self._bucket_is_checked = True

    def tags(
        self, purpose: str, extra: Mapping[str, str] | None = None, *, owned: bool = False
    ) -> list[dict[str, str]]:
        """The user's own tags, and those by which what is made here is found again.

        `owned` adds whose it is, for which AWS is asked once: for what is sent, not for what is only shown.
        """
        owner = {OWNER_TAG: self.owner} if owned and self.owner else {}
        pairs = {**self.settings.tags, TAG: __version__, PURPOSE_TAG: purpose, **owner, **(extra or {})}
        return [{"Key": key, "Value": value} for key, value in pairs.items()]

    def tags_of(self, arn: str) -> dict[str, str]:
        """The tags of something in the account.

        Raises:
            ClientError: AWS refuses to list them.
        """
        pages = self.clients("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    @cached_property
    def rates(self) -> Rates:
        """What AWS asks for machines: the table of the settings, or the one that came along."""
        return Rates.load(self.settings.rates)

    def check_cost(
        self,
        calls: Sequence[ApiCall],
        *,
        seconds: float | None = None,
        replaced: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Let calls pass that can't cost more than `max_cost`.

        Args:
            calls: what would be sent.
            seconds: how long an endpoint is to live.
            replaced: gives the configuration whose machines run on until an update is through.

        Raises:
            ConfigError: they may cost more, or nobody knows.
        """
        if self.settings.max_cost is not None:
            before = None if replaced is None else replaced()
            self.plan_of(calls, seconds=seconds, replaced=before).refuse_above(self.settings.max_cost)

    def plan_of(
        self, calls: Sequence[ApiCall], *, seconds: float | None = None, replaced: Mapping[str, Any] | None = None
    ) -> Plan:
        """What calls come to, by the settings' table of rates."""
        ended = self.settings.endpoint_end_role is not None
        return plan_of(calls, self.rates, region=self.region, seconds=seconds, ended_by_aws=ended, replaced=replaced)

    def _default_bucket(self) -> str:
        name = f"sagemaker-{self.region}-{self.account}"
        s3 = self.clients("s3")
        with told(f"looking for bucket {name}", ConfigError):
            try:
                s3.head_bucket(Bucket=name, ExpectedBucketOwner=self.account)
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchBucket", "NotFound"):
                    raise
                place = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
                s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
        return name


def owner_of(arn: str) -> str:
    """The caller's ARN as a tag holds it, without a session name that differs each time.

    Example:
        >>> owner_of("arn:aws:sts::111122223333:assumed-role/Team/botocore-session-1764446400")
        'arn:aws:sts::111122223333:assumed-role/Team'
    """
    return tag_text(_RANDOM_SESSION.sub("", arn))


def bucket_region(s3: Any, bucket: str) -> str | None:
    """The region of a bucket; None where S3 doesn't say.

    Raises:
        ConfigError: there is no such bucket.
        ClientError: S3 can't say.
    """
    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if error_code(error) in ("404", "NoSuchBucket", "NotFound"):
            raise ConfigError(
                f"bucket {bucket} is not there; make it with `aws s3 mb s3://{bucket}`, or name another (bucket=...)"
            ) from error
        # Whoever may only list below a prefix is refused here, with the region in the refusal's headers.
        if _region_in(answer) is None and error_code(error) not in ("403", "AccessDenied", "Forbidden"):
            raise
    return _region_in(answer)


def _region_in(answer: Mapping[str, Any]) -> str | None:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
    return None if found is None else str(found)
