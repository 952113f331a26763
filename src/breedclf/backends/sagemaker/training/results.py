"""What a job left in S3, on this machine: its archives unpacked without trust, and the debugger's files as they are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.downloads.unpack import unpack
from breedclf.errors import DataError, JobError

MAX_FILES = 100_000
MAX_BYTES = 64 << 30
DEBUGGER_FOLDERS = ("profiler-output", "rule-output")


def job_uri(answer: Mapping[str, Any]) -> str:
    """The job's own folder in S3, from the answer of DescribeTrainingJob."""
    return f"{answer['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{answer['TrainingJobName']}"


def fetch_archive(
    storage: Storage, uri: str, target: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
) -> bool:
    """Unpack an archive into a folder, once, whole or not at all; says whether there is one.

    Raises:
        JobError: S3 can't be reached, or the archive is damaged, too large, or leads out of its folder.
    """
    if target.is_dir():
        return True
    archive, fresh = target.with_name(f"{target.name}.tar.gz"), target.with_name(f".{target.name}.new")
    with told(f"fetching {uri}", JobError):
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
    """Copy what SageMaker Debugger has written by now; its rules may go on after the job has ended.

    Raises:
        JobError: S3 can't be reached, or a name leads out of the folder.
    """
    if not (answer.get("ProfilerConfig") or answer.get("DebugRuleConfigurations")):
        return
    for part in DEBUGGER_FOLDERS:
        uri = f"{job_uri(answer)}/{part}"
        for entry in storage.entries(uri):
            path = PurePosixPath(entry.name)
            if path.is_absolute() or ".." in path.parts:
                raise JobError(f"{uri} holds {entry.name!r}, a name that leads out of the folder; it isn't fetched")
            target = folder / part / path
            if not target.is_file() or target.stat().st_size != entry.size_bytes:
                storage.fetch(f"{uri}/{entry.name}", target)
