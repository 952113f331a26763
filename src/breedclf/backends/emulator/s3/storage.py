"""`Storage`: downloads prefixes and uploads files for jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.protocol import ServiceError
from breedclf.errors import ConfigError, JobError
from breedclf.files.s3_uri import S3Location

_WORKERS = 8


def location_of(uri: str) -> S3Location:
    """The bucket and key of `s3://bucket/key`.

    Raises:
        ServiceError: it isn't an S3 URI.
    """
    try:
        bucket, key = S3Location.parse(uri)
    except ConfigError:
        raise ServiceError("ValidationException", f"{uri!r} isn't an S3 URI; use s3://bucket/key") from None
    return S3Location(bucket, key.lstrip("/"))


@dataclass(frozen=True)
class Storage:
    """The objects of one S3, accessed with botocore's client."""

    client: Any

    def region_of(self, bucket: str) -> str | None:
        """The region of a bucket; None if there is no such bucket."""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_bucket_location(Bucket=bucket)
        except ClientError:
            return None
        return answer.get("LocationConstraint") or "us-east-1"

    def list(self, location: S3Location) -> Iterator[dict[str, Any]]:
        """The objects below a prefix."""
        for answer in self.client.get_paginator("list_objects_v2").paginate(
            Bucket=location.bucket, Prefix=location.key
        ):
            yield from answer.get("Contents", [])

    def any(self, location: S3Location) -> bool:
        """Whether any object has a prefix."""
        return bool(self.client.list_objects_v2(Bucket=location.bucket, Prefix=location.key, MaxKeys=1).get("KeyCount"))

    def read(self, location: S3Location) -> bytes:
        """An object's bytes."""
        body: bytes = self.client.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        return body

    def download(self, location: S3Location, folder: Path) -> int:
        """Download the objects with a prefix into a folder as SageMaker does; return their number.

        A prefix that is an object's key becomes one file; file names of other objects start after the prefix's last
        `/`.
        """
        keys = [each["Key"] for each in self.list(location) if not each["Key"].endswith("/")]
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(lambda key: self._download_one(location, key, folder), keys))
        return len(keys)

    def upload_file(self, file: Path, location: S3Location) -> None:
        """Upload a file."""
        with file.open("rb") as body:
            self.client.put_object(Bucket=location.bucket, Key=location.key, Body=body)

    def write(self, body: bytes, location: S3Location) -> None:
        """Upload bytes."""
        self.client.put_object(Bucket=location.bucket, Key=location.key, Body=body)

    def upload_changed(self, folder: Path, location: S3Location, known: dict[str, tuple[int, float]]) -> None:
        """Upload files that are new or have changed since they were added to `known`, and update `known`."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
            name = file.relative_to(folder).as_posix()
            stat = file.stat()
            if known.get(name) != (stat.st_size, stat.st_mtime):
                self.upload_file(file, S3Location(location.bucket, _below(location.key, name)))
                known[name] = (stat.st_size, stat.st_mtime)

    def _download_one(self, location: S3Location, key: str, folder: Path) -> None:
        base = location.key if location.key.endswith("/") or not location.key else f"{location.key}/"
        if not key.startswith(base):
            base = location.key[: location.key.rfind("/") + 1]
        relative = key.removeprefix(base)
        target = (folder / relative).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise JobError(f"object {key!r} is outside of the channel's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for part in self.client.get_object(Bucket=location.bucket, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(part)


def folder_is_empty(folder: Path) -> bool:
    """Whether a folder and its subfolders contain no file."""
    return not any(files for _, _, files in os.walk(folder))


def _below(prefix: str, name: str) -> str:
    return f"{prefix.rstrip('/')}/{name}" if prefix else name
