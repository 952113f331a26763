"""Downloads the small files of a recorded run from a prefix in S3."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from breedclf.errors import ConfigError, MissingExtraError, ProfileError
from breedclf.files.s3_uri import S3Location

READ_SUFFIXES = (".json", ".jsonl", ".json.gz", ".ts", ".tfevents")
MAX_FILES = 200_000


def fetch_recorded_run(uri: str, folder: Path, *, client: Any = None) -> None:
    """Download the files of a recorded run below `s3://bucket/prefix` into a folder, with its subfolders.

    Models and images aren't downloaded.

    Args:
        uri: the prefix, such as a job's output path or its `profiler-output`.
        folder: an existing folder.
        client: boto3's S3 client; defaults to one with AWS's default settings.

    Raises:
        MissingExtraError: boto3 isn't installed.
        ConfigError: no credentials or region are configured.
        ProfileError: the bucket can't be read, or has no such file.
    """
    try:
        bucket, key = S3Location.parse(uri)
    except ConfigError as error:
        raise ProfileError(str(error)) from None
    try:
        from breedclf.backends.sagemaker.aws_errors import translate_aws_errors
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"reading {uri} needs {error.name}, which is not installed: pip install 'breedclf[sagemaker]'"
        ) from error
    client = client or _default_client()
    prefix = f"{key.rstrip('/')}/" if key else ""
    found = 0
    with translate_aws_errors(f"reading {uri}", as_=ProfileError):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                name = PurePosixPath(entry["Key"].removeprefix(prefix))
                if not name.name.endswith(READ_SUFFIXES) or name.is_absolute() or ".." in name.parts:
                    continue
                found += 1
                if found > MAX_FILES:
                    raise ProfileError(f"{uri} contains more than {MAX_FILES:,} files: use the prefix of a single run")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(bucket, entry["Key"], str(target))
    if not found:
        raise ProfileError(f"{uri} contains no file of a recorded run: use a job's output path, or its profiler-output")


def _default_client() -> Any:
    import boto3

    from breedclf.backends.sagemaker.clients import AwsClients

    return AwsClients(boto3.Session())("s3")
