"""What lies below a prefix in S3, fetched into a folder: the small files that a recorded run is made of."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from breedclf.errors import MissingExtraError, ProfileError

READ_SUFFIXES = (".json", ".jsonl", ".json.gz", ".ts", ".tfevents")
MOST_FILES = 200_000


def fetch_recorded_run(uri: str, folder: Path, *, client: Any = None) -> None:
    """Fetch the files of a recorded run below `s3://bucket/prefix` into a folder, in its subfolders.

    Models and pictures that lie beside them stay where they are.

    Args:
        uri: the prefix, such as a job's output path or its `profiler-output`.
        folder: exists; gets the files.
        client: boto3's client of S3; one by AWS's usual settings if not given.

    Raises:
        MissingExtraError: boto3 isn't installed.
        ConfigError: no credentials or region are known.
        ProfileError: the bucket can't be read, or holds no such file there.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ProfileError(f"{uri!r} is no address in S3: write s3://BUCKET/PREFIX")
    try:
        from breedclf.backends.sagemaker.aws import told
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"reading {uri} needs {error.name}, which is not installed: pip install 'breedclf[sagemaker]'"
        ) from error
    client = client or _usual_client()
    prefix = f"{key.rstrip('/')}/" if key else ""
    found = 0
    with told(f"reading {uri}", ProfileError):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                name = PurePosixPath(entry["Key"].removeprefix(prefix))
                if not name.name.endswith(READ_SUFFIXES) or name.is_absolute() or ".." in name.parts:
                    continue
                found += 1
                if found > MOST_FILES:
                    raise ProfileError(f"{uri} holds more than {MOST_FILES:,} files: name the run's own prefix")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(bucket, entry["Key"], str(target))
    if not found:
        raise ProfileError(f"{uri} holds no file of a recorded run: name a job's output path, or its profiler-output")


def _usual_client() -> Any:
    import boto3

    from breedclf.backends.sagemaker.aws import AwsClients

    return AwsClients(boto3.Session())("s3")
