"""Downloads a job's output from S3: archives, unpacked with checks, and the files of SageMaker Debugger."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from breedclf.backends.sagemaker.aws_errors import translate_aws_errors
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.downloads.unpack import unpack
from breedclf.errors import DataError, JobError

MAX_FILES = 100_000
MAX_BYTES = 64 << 30
DEBUGGER_FOLDERS = ("profiler-output", "rule-output")


def job_uri(answer: Mapping[str, Any]) -> str:
    """The job's folder in S3, from the response of DescribeTrainingJob."""
    return f"{answer['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{answer['TrainingJobName']}"


def fetch_archive(
    storage: Storage, uri: str, target: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
) -> bool:
    """Unpack an archive into a folder, atomically and once; returns whether the archive exists.

    Raises:
        JobError: S3 can't be reached, or the archive is damaged, too large, or has paths outside the folder.
    """
    if target.is_dir():
        return True
    archive, fresh = target.with_name(f"{target.name}.tar.gz"), target.with_name(f".{target.name}.new")
    with translate_aws_errors(f"downloading {uri}", as_=JobError):
        if not storage.fetch(uri, archive):
            return False
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        unpack(archive, fresh, max_files=max_files, max_bytes=max_bytes)
    except DataError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise JobError(f"{uri} can't be unpacked: {error}") from error
    archive.unlink()
    fresh.rename(target)
    return True


def fetch_debugger(storage: Storage, answer: Mapping[str, Any], folder: Path) -> None:
    """Download the files that SageMaker Debugger has written so far; rules may still run after the job's end.

    Raises:
        JobError: S3 can't be reached, or a path is outside the folder.
    """
    if not (answer.get("ProfilerConfig") or answer.get("DebugRuleConfigurations")):
        return
    for part in DEBUGGER_FOLDERS:
        uri = f"{job_uri(answer)}/{part}"
        for entry in storage.entries(uri):
            path = PurePosixPath(entry.name)
            if path.is_absolute() or ".." in path.parts:
                raise JobError(f"{uri} contains {entry.name!r}, a path outside the folder; it was not downloaded")
            target = folder / part / path
            if not target.is_file() or target.stat().st_size != entry.size_bytes:
                storage.fetch(f"{uri}/{entry.name}", target)
