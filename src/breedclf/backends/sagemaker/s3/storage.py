"""Objects in S3: addresses, and the few calls that everything else here is made of."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_code, told
from breedclf.errors import BreedclfError, ConfigError, DataError

SCHEME = "s3://"
_DELETED_AT_A_TIME = 1_000

log: logging.Logger = logging.getLogger(__name__)


class S3Location(NamedTuple):
    """A bucket, and a key or prefix in it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read `s3://bucket/key`.

        Raises:
            ConfigError: it is no such address.

        Example:
            >>> S3Location.parse("s3://mine/dogs/train")
            S3Location(bucket='mine', key='dogs/train')
        """
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not bucket:
            raise ConfigError(f"{uri!r} is no address in S3: write s3://BUCKET/PREFIX")
        return cls(bucket, key)

    def require_plain(self) -> Self:
        """For a place to write to: S3 takes `..`, `.` and empty parts for names, and few other programs do.

        Raises:
            ConfigError: the key has such a part.
        """
        odd = [part for part in self.key.removesuffix("/").split("/") if part in ("", ".", "..")]
        if self.key and odd:
            meant = posixpath.normpath(f"/{self.key}").lstrip("/")
            raise ConfigError(
                f"{str(self)!r} has a part {odd[0]!r}, which S3 takes for a name: write {SCHEME}{self.bucket}/{meant}"
            )
        return self

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


@dataclass(frozen=True)
class S3Object:
    """One object of a listing; the key is told below the prefix that was listed."""

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
        """Everything below a prefix, which ends at a slash, in the order of the keys."""
        bucket, key = S3Location.parse(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        with told(f"listing {uri}", BreedclfError):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                self._require_region(bucket, page)
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(prefix)
                    if name and not name.endswith("/"):  # consoles leave empty objects that stand for folders
                        yield S3Object(name, entry["Size"], entry["ETag"].strip('"'))

    def holds(self, uri: str) -> bool:
        """Whether there is an object of this very key."""
        bucket, key = S3Location.parse(uri)
        with told(f"looking for {uri}", BreedclfError):
            page = self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        self._require_region(bucket, page)
        return any(entry["Key"] == key for entry in page.get("Contents", ()))

    def put(self, uri: str, content: bytes) -> str:
        """Write an object of some megabytes at most, and return its ETag."""
        bucket, key = S3Location.parse(uri)
        with told(f"writing {uri}", BreedclfError):
            return str(self._client.put_object(Bucket=bucket, Key=key, Body=content, **self._written)["ETag"]).strip(
                '"'
            )

    def put_file(self, uri: str, path: Path) -> str:
        """Write a file of any size, in parts when it is large, and return its ETag."""
        bucket, key = S3Location.parse(uri)
        with told(f"writing {uri}", BreedclfError):
            self._client.upload_file(str(path), bucket, key, ExtraArgs=self._written)
            return str(self._client.head_object(Bucket=bucket, Key=key)["ETag"]).strip('"')

    def keep(self, uri: str, content: bytes | Path) -> None:
        """Make an object be this content, of 5 GiB at most: sent unless S3 holds the same, by the SHA-256 it computed.

        Something else in its place is written over, and told: whoever put it there could have run it in our jobs.
        """
        wanted = checksum_of(content)
        if self.holds(uri):
            found, size_bytes = self._checksum(uri)
            if found == wanted:
                return
            if found or size_bytes != _size_bytes(content):
                log.warning(
                    "%s held something else than its name says and was written over; if nobody of yours put it there, "
                    "look who can write to this bucket: they can run code in your jobs",
                    uri,
                )
        bucket, key = S3Location.parse(uri)
        with told(f"writing {uri}", BreedclfError), _opened(content) as body:
            self._client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256", **self._written)

    def _checksum(self, uri: str) -> tuple[str, int]:
        """An object's SHA-256 as S3 knows it, empty if it doesn't, and its size."""
        bucket, key = S3Location.parse(uri)
        with told(f"looking at {uri}", BreedclfError):
            answer = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return str(answer.get("ChecksumSHA256", "")), int(answer["ContentLength"])

    def get(self, uri: str) -> bytes | None:
        """What an object holds; None when there is none."""
        bucket, key = S3Location.parse(uri)
        with told(f"reading {uri}", BreedclfError):
            try:
                return bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise

    def fetch(self, uri: str, path: Path) -> bool:
        """Write an object into a file, whole or not at all, and say whether there was one."""
        bucket, key = S3Location.parse(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with told(f"fetching {uri}", BreedclfError):
            try:
                self._client.download_file(bucket, key, str(path))
            except ClientError as error:
                if error_code(error) in ("404", "NoSuchKey"):
                    return False
                raise
        return True

    def delete(self, uri: str) -> int:
        """Delete everything below a prefix and say how many objects that were."""
        return self.delete_objects(uri, [entry.name for entry in self.entries(uri)])

    def delete_objects(self, uri: str, names: list[str]) -> int:
        """Delete objects by their names below a prefix.

        Raises:
            BreedclfError: S3 kept one of them.
        """
        bucket, key = S3Location.parse(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        for begin in range(0, len(names), _DELETED_AT_A_TIME):
            batch = [{"Key": prefix + name} for name in names[begin : begin + _DELETED_AT_A_TIME]]
            with told(f"deleting below {uri}", BreedclfError):
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
                f"bucket {bucket} is in {found}, but jobs run in {self._region} and read no other region's buckets; "
                f"choose a bucket of {self._region}, or region={found!r}"
            )


def checksum_of(content: bytes | Path) -> str:
    """The SHA-256 that S3 tells of an object written by `Storage.keep`.

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
