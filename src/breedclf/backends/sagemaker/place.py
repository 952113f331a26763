"""What all parts of the SageMaker back end share: the settings, the clients, the bucket and the names in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from botocore.exceptions import ClientError

from breedclf._version import __version__
from breedclf.backends.folder import home_folder
from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import AwsClients, error_code, told
from breedclf.backends.sagemaker.plan import plan_of
from breedclf.backends.sagemaker.rates import Rates
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.storage import Storage
from breedclf.errors import ConfigError
from breedclf.job_handle import Clock

TAG = "breedclf"
PURPOSE_TAG = "breedclf-purpose"


class Place:
    """One account's SageMaker in one region, seen with one group of settings."""

    def __init__(
        self, settings: SageMakerSettings, clients: AwsClients, *, home: str | Path | None, clock: Clock
    ) -> None:
        self.settings = settings
        self.clients = clients
        self.home = home_folder(home)
        self._clock = clock

    @cached_property
    def region(self) -> str:
        """The region that is worked in."""
        return str(self.clients("sagemaker").meta.region_name)

    @cached_property
    def account(self) -> str:
        """The account of the credentials, which AWS is asked for once."""
        with told("asking whose credentials these are", ConfigError):
            return str(self.clients("sts").get_caller_identity()["Account"])

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

    def tags(self, purpose: str, extra: Mapping[str, str] | None = None) -> list[dict[str, str]]:
        """The user's own tags, and those by which what is made here is found again."""
        pairs = {**self.settings.tags, TAG: __version__, PURPOSE_TAG: purpose, **(extra or {})}
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

    def check_cost(self, calls: Sequence[ApiCall], *, seconds: float | None = None) -> None:
        """Let calls pass that can't cost more than `max_cost`; `seconds` is how long an endpoint is to live.

        Raises:
            ConfigError: they may cost more, or nobody knows.
        """
        if self.settings.max_cost is not None:
            plan_of(calls, self.rates, region=self.region, seconds=seconds).refuse_above(self.settings.max_cost)

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
