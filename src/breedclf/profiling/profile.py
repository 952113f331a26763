"""The profile of one run: a versioned file format that every source writes and every rule and report reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from breedclf.config.saved import from_saved
from breedclf.errors import ProfileError
from breedclf.files.disk import write_atomic
from breedclf.files.paths import StrPath, user_path
from breedclf.profiling.reported import RuleReport
from breedclf.profiling.schema import (
    PARTS,
    Compute,
    JobInfo,
    JobStatus,
    Learning,
    Loader,
    Operator,
    Overhead,
    ProfileModel,
    Provenance,
    Series,
    SeriesKind,
    Source,
    Spans,
    Steps,
    System,
    TensorKind,
    TensorSeries,
)

__all__ = [
    "FILE_NAME",
    "PARTS",
    "SCHEMA_VERSION",
    "Compute",
    "JobInfo",
    "JobStatus",
    "Learning",
    "Loader",
    "Operator",
    "Overhead",
    "Profile",
    "Provenance",
    "Series",
    "SeriesKind",
    "Source",
    "Spans",
    "Steps",
    "System",
    "TensorKind",
    "TensorSeries",
]

SCHEMA_VERSION = 1
FILE_NAME = "profile.json"


class Profile(ProfileModel):
    """One run, from any source.

    Example:
        >>> profile = Profile(job=JobInfo(name="demo", start=0.0, end=2.0))
        >>> profile.job.seconds
        2.0
    """

    schema_version: int = SCHEMA_VERSION
    job: JobInfo
    steps: Steps = Steps()
    spans: Spans = Spans()
    operators: tuple[Operator, ...] = ()
    loader: Loader = Loader()
    system: System = System()
    tensors: tuple[TensorSeries, ...] = ()
    learning: Learning = Learning()
    compute: Compute = Compute()
    overhead: Overhead = Overhead()
    reported: tuple[RuleReport, ...] = Field(default=(), description="reports of SageMaker's own rules")
    provenance: Provenance = Provenance()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.steps.nodes, *self.system.nodes, *self.job.cores)))

    def to_json(self) -> str:
        unused = {"reported"} if not self.reported else None  # earlier versions refuse unknown fields
        return json.dumps(self.model_dump(mode="json", exclude=unused), separators=(",", ":"), allow_nan=False)

    def save(self, path: StrPath) -> Path:
        """Write `profile.json` atomically; into `path` if it is a folder."""
        path = user_path(path, "path")
        if path.is_dir():
            path = path / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, self.to_json())
        return path

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read a `profile.json`, or the one in a folder.

        Raises:
            ProfileError: it is missing, truncated, not a profile, or of a newer schema.
        """
        path = user_path(path, "path")
        if path.is_dir():
            path = path / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"profile {path} can't be read: {error}") from error
        return cls.from_json(text, name=str(path))

    @classmethod
    def from_json(cls, text: str, *, name: str = FILE_NAME) -> Self:
        """Read a profile from JSON text; errors refer to it as `name`."""
        try:
            values = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            what = "is empty" if not text.strip() else f"is truncated or not JSON ({error})"
            raise ProfileError(f"profile {name} {what}: profile the run again") from error
        if not isinstance(values, dict) or "schema_version" not in values or "job" not in values:
            raise ProfileError(f"{name} is JSON but not a breedclf profile: it has no schema_version and job")
        version = values["schema_version"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ProfileError(f"profile {name} has schema_version {version!r}, which is not a version")
        if version > SCHEMA_VERSION:
            raise ProfileError(
                f"profile {name} has schema {version}, written by a newer breedclf; this one reads up to "
                f"{SCHEMA_VERSION}: upgrade breedclf"
            )
        try:
            return from_saved(cls, values, f"profile {name}")
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(str(part) for part in first["loc"])
            raise ProfileError(f"profile {name} is damaged at {location or 'its top level'}: {first['msg']}") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not valid JSON")
