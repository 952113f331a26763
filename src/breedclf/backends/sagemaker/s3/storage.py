"""Objects in S3: basic operations."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import is_missing, translate_aws_errors
from breedclf.errors import BreedclfError, ConfigError, DataError
from breedclf.files.s3_uri import S3Location

_DELETE_BATCH = 1_000

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class S3Object:
    """One object of a listing; `name` is relative to the listed prefix."""

    name: str
    size_bytes: int
    etag: str


class Storage:
    """S3 as jobs and data sets use it, with errors that say what to do.

    Args:
        client: boto3's client of S3.
        kms_key: what is written is encrypted with this key; S3's own way if not given.
        region: where the buckets must be, since a job reads none of another region.
    """

    def __init__(self, client: Any, *, kms_key: str | None = None, region: str | None = None) -> None:
        self._client = client
        self._region = region
        self._written = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    def entries(self, uri: str) -> Iterator[S3Object]:
        """The objects below a prefix (up to a slash), ordered by key."""
        bucket, key = S3Location.parse(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        with translate_aws_errors(f"listing {uri}", as_=BreedclfError):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                self._require_region(bucket, page)
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(prefix)
                    if name and not name.endswith("/"):  # consoles create empty objects as folders
                        yield S3Object(name, entry["Size"], entry["ETag"].strip('"'))

    def contains(self, uri: str) -> bool:
        """Whether an object with exactly this key exists."""
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"checking {uri}", as_=BreedclfError):
            page = self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        self._require_region(bucket, page)
        return any(entry["Key"] == key for entry in page.get("Contents", ()))

    def put(self, uri: str, content: bytes) -> str:
        """Write an object of a few megabytes at most; returns its ETag."""
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"writing {uri}", as_=BreedclfError):
            return str(self._client.put_object(Bucket=bucket, Key=key, Body=content, **self._written)["ETag"]).strip(
                '"'
            )

    def put_file(self, uri: str, path: Path) -> str:
        """Write a file of any size, in parts if it is large; returns its ETag."""
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"writing {uri}", as_=BreedclfError):
            self._client.upload_file(str(path), bucket, key, ExtraArgs=self._written)
            return str(self._client.head_object(Bucket=bucket, Key=key)["ETag"]).strip('"')

    def ensure(self, uri: str, content: bytes | Path) -> None:
        """Upload content of at most 5 GiB, unless S3 already has it (by the SHA-256 that S3 computed).

        Different content is overwritten with a warning, since whoever wrote it could have run code in our jobs.
        """
        expected = checksum_of(content)
        if self.contains(uri):
            found, size_bytes = self._checksum(uri)
            if found == expected:
                return
            if found or size_bytes != _size_bytes(content):
                log.warning(
                    "%s did not match its content digest and was overwritten; if this was not you, check "
                    "who can write to this bucket: they can run code in your jobs",
                    uri,
                )
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"writing {uri}", as_=BreedclfError), _opened(content) as body:
            self._client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256", **self._written)

    def _checksum(self, uri: str) -> tuple[str, int]:
        """An object's SHA-256 according to S3 (empty if unknown), and its size."""
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"checking {uri}", as_=BreedclfError):
            answer = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return str(answer.get("ChecksumSHA256", "")), int(answer["ContentLength"])

    def get(self, uri: str) -> bytes | None:
        """The content of an object; None if it doesn't exist."""
        bucket, key = S3Location.parse(uri)
        with translate_aws_errors(f"reading {uri}", as_=BreedclfError):
            try:
                return bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def fetch(self, uri: str, path: Path) -> bool:
        """Download an object into a file, atomically; returns whether it exists."""
        bucket, key = S3Location.parse(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with translate_aws_errors(f"downloading {uri}", as_=BreedclfError):
            try:
                self._client.download_file(bucket, key, str(path))
            except ClientError as error:
                if is_missing(error):
                    return False
                raise
        return True

    def delete(self, uri: str) -> int:
        """Delete everything below a prefix; returns the number of objects."""
        return self.delete_objects(uri, [entry.name for entry in self.entries(uri)])

    def delete_objects(self, uri: str, names: list[str]) -> int:
        """Delete objects by their names relative to a prefix; returns their number.

        Raises:
            BreedclfError: S3 didn't delete one of them.
        """
        bucket, key = S3Location.parse(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        for start in range(0, len(names), _DELETE_BATCH):
            batch = [{"Key": prefix + name} for name in names[start : start + _DELETE_BATCH]]
            with translate_aws_errors(f"deleting below {uri}", as_=BreedclfError):
                answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                first = errors[0]
                raise BreedclfError(
                    f"{len(errors)} objects below {uri} were not deleted, such as {first.get('Key')}: "
                    f"{first.get('Code')}: {first.get('Message')}"
                )
        return len(names)

    def _require_region(self, bucket: str, answer: Any) -> None:
        found = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        if found and self._region and found != self._region:
            raise ConfigError(
                f"bucket {bucket} is in {found}, but jobs run in {self._region} and can't read buckets of other "
                f"regions; use a bucket in {self._region}, or region={found!r}"
            )


def checksum_of(content: bytes | Path) -> str:
    """The SHA-256 that S3 reports for an object written by `Storage.ensure`.

    Example:
        >>> checksum_of(b"")
        '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    with _opened(content) as body:
        return base64.b64encode(hashlib.file_digest(body, "sha256").digest()).decode()


def _opened(content: bytes | Path) -> io.BytesIO | io.BufferedReader:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        return content.open("rb")
    except OSError as error:
        raise DataError(f"{content} can't be read: {error.strerror}") from error


def _size_bytes(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
