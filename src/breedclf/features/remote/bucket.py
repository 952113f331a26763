"""The requests that a feature store sends to S3; the one module here that imports boto3."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from breedclf._version import __version__
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import SCHEME, S3Location, is_bucket_name
from breedclf.runtime.extras import require_extra

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

CONNECTIONS = 16
_ATTEMPTS, _CONNECT_SECONDS, _READ_SECONDS = 4, 5, 30
_PERMISSIONS = {"ListObjectsV2": "s3:ListBucket", "GetObject": "s3:GetObject", "PutObject": "s3:PutObject"}
_KEY_DENIED = re.compile(r"perform: (kms:[A-Za-z*]+)")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_MISSING = ("NoSuchKey", "404", "NotFound")
_UNSUPPORTED = ("NotImplemented", "501")

log: logging.Logger = logging.getLogger(__name__)


class S3Failure(Exception):  # noqa: N818 - never raised to users: it becomes a ConfigError or a log line
    """A request failed; the message says which, why, and what to do."""


class NoConditionsFailure(S3Failure):
    """The service doesn't support conditional writes."""


class Listed(NamedTuple):
    """An object of a listing; its name is relative to the store's prefix."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Content:
    """An object's content; `age_seconds` since it was written, by S3's own clock."""

    body: bytes
    etag: str
    age_seconds: float


class Bucket:
    """The objects below a prefix; threads may share it.

    Args:
        client: boto3's client of S3.
        location: the bucket and the prefix.
    """

    def __init__(self, client: BaseClient, location: S3Location) -> None:
        self._client = client
        self.location = location

    @classmethod
    def at(cls, location: S3Location) -> Self:
        """The bucket with boto3's own settings: credentials, region and endpoint URL.

        Raises:
            MissingExtraError: boto3 isn't installed.
            ConfigError: boto3's settings can't be used.
        """
        require_extra("boto3", purpose=f"feature_store={location}", install="'breedclf[sagemaker]'")
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=CONNECTIONS + 2,
            user_agent_extra=f"breedclf/{__version__}",
        )
        try:
            return cls(boto3.Session().client("s3", config=config), location)
        except BotoCoreError as error:
            raise ConfigError(f"feature_store={location}: boto3 can't be used: {error}") from error

    def list(self, below: str = "") -> list[Listed]:
        """The objects whose names start with `below`.

        Raises:
            S3Failure: the request fails.
        """
        found = []
        prefix = f"{self.location.key}/{below}"
        with self._failures("ListObjectsV2", below):
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket, Prefix=prefix
            ):
                found += [
                    Listed(each["Key"].removeprefix(f"{self.location.key}/"), int(each["Size"]))
                    for each in page.get("Contents", ())
                ]
        return found

    def region(self) -> str | None:
        """The bucket's region, if S3 reports it and the client has one too; sends one listing of one object.

        Raises:
            S3Failure: the request fails.
        """
        with self._failures("ListObjectsV2", ""):
            answer = self._client.list_objects_v2(
                Bucket=self.location.bucket, Prefix=f"{self.location.key}/", MaxKeys=1
            )
        found: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        return found

    @property
    def client_region(self) -> str:
        """The region of the client, such as eu-west-1, or aws-global."""
        return str(self._client.meta.region_name)

    def get(self, name: str) -> Content | None:
        """An object; None if it doesn't exist.

        Raises:
            S3Failure: the request fails.
        """
        from botocore.exceptions import ClientError

        with self._failures("GetObject", name):
            try:
                answer = self._client.get_object(Bucket=self.location.bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            age = _age(answer["ResponseMetadata"]["HTTPHeaders"].get("date"), answer["LastModified"])
            return Content(answer["Body"].read(), answer["ETag"], age)

    def get_range(self, name: str, first: int, end: int) -> bytes:
        """The bytes of an object from `first` up to `end`, without `end`.

        Raises:
            S3Failure: the request fails, or the object doesn't exist or is shorter.
        """
        with self._failures("GetObject", name):
            answer = self._client.get_object(
                Bucket=self.location.bucket, Key=self._key(name), Range=f"bytes={first}-{end - 1}"
            )
            body = bytes(answer["Body"].read())
        if len(body) != end - first:
            raise S3Failure(f"reading {self._uri(name)}: it has fewer bytes than its index says")
        return body

    def put(self, name: str, body: bytes) -> None:
        """Write an object.

        Raises:
            S3Failure: the request fails.
        """
        with self._failures("PutObject", name):
            self._client.put_object(Bucket=self.location.bucket, Key=self._key(name), Body=body)

    def put_if(self, name: str, body: bytes, etag: str | None) -> str | None:
        """Write an object if its present ETag is `etag`, or with None if there is no object.

        Returns:
            The new ETag; None if the object isn't as expected.

        Raises:
            NoConditionsFailure: the service doesn't support this.
            S3Failure: the request fails.
        """
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with self._failures("PutObject", name):
            try:
                answer = self._client.put_object(
                    Bucket=self.location.bucket, Key=self._key(name), Body=body, **condition
                )
            except ClientError as error:
                if _code(error) in (*_TAKEN, *_MISSING):
                    return None
                raise
        return str(answer["ETag"])

    def _key(self, name: str) -> str:
        return f"{self.location.key}/{name}"

    def _uri(self, name: str) -> str:
        return f"{self.location}/{name}".rstrip("/")

    @contextmanager
    def _failures(self, operation: str, name: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from urllib3.exceptions import HTTPError

        action = f"{operation} of {self._uri(name)}"
        try:
            yield
        except ClientError as error:
            failure = NoConditionsFailure if _code(error) in _UNSUPPORTED else S3Failure
            raise failure(f"{action}: {self._explained(operation, error)}") from error
        except NoCredentialsError as error:
            raise S3Failure(
                f"{action}: no AWS credentials found; run `aws configure` or `aws sso login`, or set AWS_PROFILE"
            ) from error
        except (BotoCoreError, HTTPError, OSError) as error:  # the body is read by urllib3
            raise S3Failure(f"{action}: {error}") from error

    def _explained(self, operation: str, error: ClientError) -> str:
        """The message of AWS with what to do."""
        code, bucket = _code(error), self.location.bucket
        message = str(error.response.get("Error", {}).get("Message", "")) or str(error)
        if code in ("AccessDenied", "403", "AllAccessDisabled"):
            found = _KEY_DENIED.search(message)
            missing = found.group(1) if found else _PERMISSIONS[operation]
            return (
                f"missing permission {missing} on bucket {bucket} ({message}); allow it for the role or user that "
                f"runs this: `breedclf sagemaker policy --feature-store {self.location}` prints what a role needs"
            )
        if code == "NoSuchBucket":
            return f"bucket {bucket} does not exist; create it with `aws s3 mb s3://{bucket}`, or use another one"
        if code in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
            return f"bucket {bucket} is in another region than {self.client_region} ({message}); use one in this region"
        return f"{code}: {message}"


def store_location(uri: str) -> S3Location:
    """The bucket and prefix of a feature store, without slashes at the ends of the prefix.

    Raises:
        ConfigError: it isn't an S3 URI, or has no prefix.

    Example:
        >>> store_location("s3://photos/features/")
        S3Location(bucket='photos', key='features')
    """
    bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
    found = S3Location(bucket, prefix.strip("/"))
    if not uri.startswith(SCHEME) or not is_bucket_name(bucket):
        raise ConfigError(f"feature_store={uri!r} is not an S3 URI: use s3://BUCKET/PREFIX")
    if not found.key:
        raise ConfigError(f"feature_store={uri!r} has no prefix: use s3://{bucket}/PREFIX, such as {uri}/features")
    if (odd := found.odd_part) is not None:
        raise ConfigError(f"feature_store={uri!r} has the part {odd!r}, which S3 takes literally: remove it")
    return found


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _age(date: str | None, modified: datetime) -> float:
    """Seconds since an object was written; both times are S3's, as long as it sends the date."""
    now = datetime.now(UTC) if date is None else parsedate_to_datetime(date)
    return max(0.0, (now - modified).total_seconds())
