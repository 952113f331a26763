"""Opens a recorded run in any supported format: breedclf's profile, a torch trace, SageMaker's or smdebug's output."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from breedclf.errors import ProfileError
from breedclf.files.paths import StrPath
from breedclf.files.s3_uri import SCHEME
from breedclf.profiling.debugger.requirements import is_trial
from breedclf.profiling.profile import FILE_NAME, Profile
from breedclf.profiling.readers.aws_report import (
    holds_rule_reports,
    is_named_as_report,
    read_report_folder,
    rule_reports,
)
from breedclf.profiling.readers.sagemaker import is_profiler_folder, read_profiler_folder
from breedclf.profiling.readers.torch_trace import read_torch_trace


def find_profile(path: StrPath) -> Path | None:
    """Find the recorded run at or below this path; None if there is none.

    Raises:
        ProfileError: the path can't be read.
    """
    try:
        return _found(Path(path))
    except OSError as error:
        raise ProfileError(f"{os.fspath(path)[:200]} can't be read: {error.strerror or error}") from error


def _found(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix in (".json", ".gz") else None
    if not path.is_dir():
        return None
    for folder in (path, path / "profile"):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    if is_profiler_folder(path) or is_trial(path):
        return path
    traces = sorted([*path.glob("*.pt.trace.json"), *path.glob("*.pt.trace.json.gz")])
    if traces:
        return traces[0]
    return path if holds_rule_reports(path) else None


def open_profile(path: StrPath) -> Profile:
    """Read a recorded run in any supported format.

    Raises:
        ProfileError: there is no recorded run, or it can't be read.
    """
    found = find_profile(path)
    if found is None:
        what = "holds no recorded run" if Path(path).exists() else "doesn't exist"
        raise ProfileError(
            f"{os.fspath(path)} {what}: give a folder with {FILE_NAME}, SageMaker's profiler-output or ProfilerReport, "
            "an smdebug trial, or a torch.profiler trace"
        )
    if found.is_dir():
        if is_profiler_folder(found):
            return _with_reports(found)
        if not is_trial(found):
            return read_report_folder(found)
        from breedclf.profiling.debugger.trial import read_trial

        return read_trial(found)
    if found.name == FILE_NAME:
        return Profile.load(found)
    return read_torch_trace(found) if _is_trace(found) else Profile.load(found)


def open_remote_profile(uri: str, fetch: Callable[[str, Path], None]) -> Profile:
    """Read a recorded run from S3; `fetch` downloads its files to a temporary folder.

    Raises:
        ProfileError: there is no recorded run, or it can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="breedclf-run-") as temporary:
        # Keep the names of parent folders: they determine the format and the job's name.
        above = (part for part in uri.removeprefix(SCHEME).split("/") if part.strip("."))
        folder = Path(temporary, *above)
        folder.mkdir(parents=True, exist_ok=True)
        fetch(uri, folder)
        try:
            return open_profile(folder)
        except ProfileError as error:
            raise ProfileError(str(error).replace(str(folder), uri)) from error


def _with_reports(folder: Path) -> Profile:
    """SageMaker's raw data, with the reports of its own rules if the folder holds both."""
    reports, notes = rule_reports(folder) if holds_rule_reports(folder) and not is_named_as_report(folder) else ([], [])
    try:
        profile = read_profiler_folder(folder)
    except ProfileError as error:
        if not reports:
            raise
        profile = read_report_folder(folder)
        notes = [*profile.provenance.notes, f"the raw data beside the reports can't be used: {error}"]
    provenance = profile.provenance.model_copy(
        update={"notes": tuple(dict.fromkeys((*profile.provenance.notes, *notes)))}
    )
    return profile.model_copy(update={"reported": tuple(reports), "provenance": provenance})


def _is_trace(path: Path) -> bool:
    if path.suffix == ".gz" or ".trace." in path.name:
        return True
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"schema_version"' not in head and (b"traceEvents" in head or b'"schemaVersion"' in head or b'"ph"' in head)
