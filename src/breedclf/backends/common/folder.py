"""A job's folder on this machine: its state, events, log and files."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar

from breedclf.errors import ConfigError, JobError
from breedclf.files.disk import write_atomic
from breedclf.files.paths import StrPath, user_path
from breedclf.files.private_folder import make_private
from breedclf.files.typed import typed, unknown_fields
from breedclf.files.unknown_keys import warn_of_unknown_keys
from breedclf.jobs import JobDescription, JobSpec, JobStatus, MetricRecord, SecondaryStatus, check_name
from breedclf.jobs.protocols import LogTail
from breedclf.text.json_lines import read_json_lines

FORMAT_VERSION = 1
HOME_VARIABLE = "BREEDCLF_HOME"
_MAX_LOG_PART_BYTES = 1 << 20

Parsed = TypeVar("Parsed")


class ProcessValues(TypedDict):
    """A process as `job.json` stores it."""

    pid: int
    create_time: float


class DamagedJobError(JobError):
    """A job's state file is damaged."""


@dataclass(frozen=True)
class JobState:
    """The content of `job.json`: specification, description, the backend's options, and the job's processes."""

    spec: JobSpec
    description: JobDescription
    backend: str
    options: Mapping[str, Any]
    supervisor: ProcessValues | None = None
    process: ProcessValues | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": FORMAT_VERSION,
            "backend": self.backend,
            "description": self.description.to_dict(),
            "spec": self.spec.to_dict(),
            "options": dict(self.options),
            "supervisor": self.supervisor,
            "process": self.process,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The state of `to_dict`'s values; ValueError or ConfigError where a part is missing or wrong."""
        return typed(cls, values)


@dataclass(frozen=True)
class JobFolder:
    """`<home>/jobs/<name>`: one writer at a time, which holds `lock`, and any number of readers."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def state_file(self) -> Path:
        return self.path / "job.json"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor until it exits."""
        return self.path / "lock"

    @property
    def stop_file(self) -> Path:
        """Exists once a stop was requested."""
        return self.path / "stop"

    @property
    def interrupt_file(self) -> Path:
        """Exists once a spot interruption was requested."""
        return self.path / "interrupt"

    @property
    def base(self) -> Path:
        """The job's `/opt/ml`."""
        return self.path / "opt" / "ml"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        return self.base / "output" / "data"

    @property
    def failure_file(self) -> Path:
        return self.base / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    @property
    def archives(self) -> Path:
        return self.path / "artifacts"

    def read(self) -> JobState:
        """The state that was written last.

        Raises:
            JobError: there is no such job, or another version of breedclf wrote it.
            DamagedJobError: the file is damaged.
        """
        return self._read(JobState.from_dict)

    def read_description(self) -> JobDescription:
        """The description alone, which is faster than `read`."""
        return self._read(lambda values: JobDescription.from_dict(values["description"]))

    def write(self, state: JobState) -> None:
        """Replace the state as a whole."""
        write_atomic(self.state_file, json.dumps(state.to_dict()))

    def _read(self, parse: Callable[[Mapping[str, Any]], Parsed]) -> Parsed:
        try:
            values = json.loads(self.state_file.read_text(encoding="utf-8"))
            version = values["version"]
            if type(version) is not int or version < 1:
                raise ValueError(f"its version is {version!r}, which breedclf never writes")
            if version == FORMAT_VERSION:
                warn_of_unknown_keys(self.state_file, unknown_fields(JobState, values, "version"))
                if (name := values["description"]["name"]) != self.name:
                    raise ValueError(f"it belongs to job {name}")
                _add_lost(values["description"])
                return parse(values)
        except FileNotFoundError:
            raise JobError(
                f"no job {self.name} in {self.path.parent}; `breedclf jobs list` shows all jobs there, "
                f"{HOME_VARIABLE} selects another folder"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DamagedJobError(
                f"{self.state_file} is damaged ({problem}); `breedclf jobs clean {self.name}` deletes it"
            ) from error
        raise JobError(
            f"job {self.name} was written by another version of breedclf (format {version}; this version reads "
            f"{FORMAT_VERSION}); use that version or upgrade this one"
        )

    def damaged(self, reason: str) -> JobDescription:
        """A description of a job whose state can't be read."""
        return JobDescription(
            name=self.name,
            status=JobStatus.FAILED,
            secondary_status=SecondaryStatus.FAILED,
            created=self.path.stat().st_mtime,
            failure_reason=reason,
            details={"damaged": True},
        )

    def add_event(self, kind: str, time: float, **values: Any) -> None:
        """Append one line to the events."""
        with self.events_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time, "kind": kind, **values}) + "\n")

    def metric_history(self) -> list[MetricRecord]:
        """The metric events, in order; damaged lines and those cut short by a crash are skipped."""
        return list(self._metric_records())

    def _metric_records(self) -> Iterator[MetricRecord]:
        for event in read_json_lines(self.events_file):
            if isinstance(event, dict) and event.get("kind") == "metrics":
                with contextlib.suppress(ValueError):
                    yield typed(MetricRecord, event)

    def read_log(self, position: int) -> tuple[str, int]:
        """Up to 1 MiB of whole characters of the log from a byte position, and the position to continue from."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(position)
                part = file.read(_MAX_LOG_PART_BYTES)
        except FileNotFoundError:
            return "", position
        whole = _without_partial_character(part)
        return whole.decode("utf-8", errors="replace"), position + len(whole)

    def log_tail(self, max_bytes: int) -> LogTail:
        """The last whole lines of the log, at most `max_bytes` of them; positions are bytes."""
        try:
            with self.log_file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size - max_bytes)
                file.seek(start)
                part = file.read(max_bytes)
        except FileNotFoundError:
            return LogTail("", 0, 0)
        if start:
            cut = part.find(b"\n") + 1
            part, start = part[cut:], start + cut
        whole = _without_partial_character(part)
        return LogTail(whole.decode("utf-8", errors="replace"), start, size)

    def disk_usage(self) -> int:
        """Size of the folder in bytes."""
        files = (Path(parent) / name for parent, _, names in os.walk(self.path) for name in names)
        return sum(file.lstat().st_size for file in files)


def job_folder(home: Path, name: str) -> JobFolder:
    """The folder that a job of this name has or would have.

    Raises:
        ConfigError: the name isn't valid.
    """
    return JobFolder(jobs_root(home) / check_name(name))


def home_folder(home: StrPath | None = None) -> Path:
    """The home folder as an absolute path: `home`, `BREEDCLF_HOME`, or `.breedclf` in the working directory."""
    chosen = home if home is not None else os.environ.get(HOME_VARIABLE) or ".breedclf"
    return user_path(chosen, "home").absolute()


def create_job_folder(home: Path, spec: JobSpec, *, backend: str, options: Mapping[str, Any], now: float) -> JobFolder:
    """Create the job's folder with its first state, atomically.

    Raises:
        ConfigError: the name is taken, or the folder can't be written.
    """
    description = JobDescription(
        name=spec.name,
        status=JobStatus.IN_PROGRESS,
        secondary_status=SecondaryStatus.STARTING,
        created=now,
        hyperparameters=dict(spec.hyperparameters),
        tags=dict(spec.tags),
    ).entered(SecondaryStatus.STARTING, now, "the job's folder is ready")
    target = job_folder(home, spec.name)
    fresh = JobFolder(jobs_root(home) / f".new-{secrets.token_hex(6)}")
    try:
        make_private(home)
        fresh.path.mkdir(parents=True)
        fresh.write(JobState(spec, description, backend, options))
        fresh.add_event("status", now, status=SecondaryStatus.STARTING)
        fresh.lock_file.touch()
        fresh.path.rename(target.path)
    except OSError as error:
        shutil.rmtree(fresh.path, ignore_errors=True)
        if target.path.exists():
            raise ConfigError(
                f"job name {spec.name!r} is taken; choose another, or free it with `breedclf jobs clean {spec.name}`"
            ) from None
        raise ConfigError(f"the job's folder {target.path} can't be created: {error}") from error
    return target


def folders_of_jobs(home: Path) -> list[JobFolder]:
    """The folders of all jobs, in no particular order."""
    try:
        with os.scandir(jobs_root(home)) as entries:
            return [JobFolder(Path(each.path)) for each in entries if each.is_dir() and not each.name.startswith(".")]
    except FileNotFoundError:
        return []


def jobs_root(home: Path) -> Path:
    """The folder of the folders of jobs."""
    return home / "jobs"


def _add_lost(description: dict[str, Any]) -> None:
    """Set `lost` in descriptions of versions that marked a lost job by its failure reason alone."""
    reason = description.get("failure_reason")
    if "lost" not in description and isinstance(reason, str):
        description["lost"] = reason.startswith("supervisor lost")


def _without_partial_character(part: bytes) -> bytes:
    """Cut off the start of a UTF-8 character whose last bytes haven't been written yet."""
    for length in range(1, min(4, len(part) + 1)):
        byte = part[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return part[:-length] if needed > length else part
        if byte < 0x80:
            break
    return part
