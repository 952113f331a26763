"""S3 as the emulator itself uses it for jobs: whole prefixes down, single files and folders up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from breedclf.backends.emulator.protocol import ServiceError
from breedclf.errors import JobError

_WORKERS = 8


@dataclass(frozen=True)
class Place:
    """A bucket and a key or prefix in it."""

    bucket: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Place:
        """The place that `s3://bucket/key` names.

        Raises:
            ServiceError: it names none.
        """
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc:
            raise ServiceError("ValidationException", f"{uri!r} is no S3 address; the emulator takes s3://bucket/key")
        return cls(parts.netloc, parts.path.lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Storage:
    """The objects of one S3, by botocore's client."""

    client: Any

    def region_of(self, bucket: str) -> str | None:
        """Where a bucket lies; None when there is none of that name."""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_bucket_location(Bucket=bucket)
        except ClientError:
            return None
        return answer.get("LocationConstraint") or "us-east-1"

    def list(self, place: Place) -> Iterator[dict[str, Any]]:
        """The objects below a prefix."""
        for answer in self.client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key):
            yield from answer.get("Contents", [])

    def any(self, place: Place) -> bool:
        """Whether anything lies below a prefix."""
        return bool(self.client.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=1).get("KeyCount"))

    def read(self, place: Place) -> bytes:
        """An object's bytes."""
        body: bytes = self.client.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
        return body

    def download(self, place: Place, folder: Path) -> int:
        """Copy what lies below a prefix into a folder, as SageMaker lays it out; return how many objects.

        A prefix that is itself an object's key becomes one file; of the others the part after the prefix's last `/`
        remains.
        """
        keys = [each["Key"] for each in self.list(place) if not each["Key"].endswith("/")]
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(lambda key: self._download_one(place, key, folder), keys))
        return len(keys)

    def upload_file(self, file: Path, place: Place) -> None:
        """Put a file where it belongs."""
        with file.open("rb") as body:
            self.client.put_object(Bucket=place.bucket, Key=place.key, Body=body)

    def write(self, body: bytes, place: Place) -> None:
        """Put bytes where they belong."""
        self.client.put_object(Bucket=place.bucket, Key=place.key, Body=body)

    def upload_changed(self, folder: Path, place: Place, known: dict[str, tuple[int, float]]) -> None:
        """Put the files that are new or changed since they were put into `known`, which is brought up to date."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
            name = file.relative_to(folder).as_posix()
            stat = file.stat()
            if known.get(name) != (stat.st_size, stat.st_mtime):
                self.upload_file(file, Place(place.bucket, _below(place.key, name)))
                known[name] = (stat.st_size, stat.st_mtime)

    def _download_one(self, place: Place, key: str, folder: Path) -> None:
        base = place.key if place.key.endswith("/") or not place.key else f"{place.key}/"
        if not key.startswith(base):
            base = place.key[: place.key.rfind("/") + 1]
        relative = key.removeprefix(base)
        target = (folder / relative).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise JobError(f"object {key!r} would leave the channel's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for part in self.client.get_object(Bucket=place.bucket, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(part)


def folder_is_empty(folder: Path) -> bool:
    """Whether a folder holds no file at all."""
    return not any(files for _, _, files in os.walk(folder))


def _below(prefix: str, name: str) -> str:
    return f"{prefix.rstrip('/')}/{name}" if prefix else name
