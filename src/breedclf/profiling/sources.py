"""Opens whatever holds a recorded run: our profile, a torch trace, SageMaker's or smdebug's output."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from breedclf.errors import ProfileError
from breedclf.profiling.debugger.requirements import is_trial
from breedclf.profiling.profile import FILE_NAME, Profile
from breedclf.profiling.readers.sagemaker import is_profiler_folder, read_profiler_folder
from breedclf.profiling.readers.torch_trace import read_torch_trace


def find_profile(path: str | Path) -> Path | None:
    """Where the recorded run lies, at or below this place; None when there is none."""
    path = Path(path)
    if path.is_file():
        return path if path.suffix in (".json", ".gz") else None
    if not path.is_dir():
        return None
    for place in (path, path / "profile"):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
    if is_profiler_folder(path) or is_trial(path):
        return path
    traces = sorted([*path.glob("*.pt.trace.json"), *path.glob("*.pt.trace.json.gz")])
    return traces[0] if traces else None


def open_profile(path: str | Path) -> Profile:
    """Read a recorded run from any source.

    Raises:
        ProfileError: nothing there can be read as one.
    """
    found = find_profile(path)
    if found is None:
        what = "holds no recorded run" if Path(path).exists() else "doesn't exist"
        raise ProfileError(
            f"{path} {what}: give a folder with {FILE_NAME}, SageMaker's profiler-output, a trial of "
            "smdebug, or a trace of torch.profiler"
        )
    if found.is_dir():
        if is_profiler_folder(found):
            return read_profiler_folder(found)
        from breedclf.profiling.debugger.trial import read_trial

        return read_trial(found)
    if found.name == FILE_NAME:
        return Profile.load(found)
    return read_torch_trace(found) if _is_trace(found) else Profile.load(found)


def is_remote(place: str | Path) -> bool:
    """Whether the place is an address in S3 and no path."""
    return str(place).startswith("s3://")


def open_remote_profile(uri: str, fetch: Callable[[str, Path], None]) -> Profile:
    """Read a recorded run from S3; `fetch` gets its files into a folder, which is gone afterwards.

    Raises:
        ProfileError: nothing there can be read as one.
    """
    with tempfile.TemporaryDirectory(prefix="breedclf-run-") as place:
        name = uri.removeprefix("s3://").rstrip("/").removesuffix("/profiler-output").rpartition("/")[2]
        folder = Path(place, name or "run")
        folder.mkdir()
        fetch(uri, folder)
        try:
            return open_profile(folder)
        except ProfileError as error:
            raise ProfileError(str(error).replace(str(folder), uri)) from error


def _is_trace(path: Path) -> bool:
    if path.suffix == ".gz" or ".trace." in path.name:
        return True
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"schema_version"' not in head and (b"traceEvents" in head or b'"schemaVersion"' in head or b'"ph"' in head)
