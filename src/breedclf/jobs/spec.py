"""A job on any back end: what is asked for, what is known about it, and what a back end must do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from breedclf.errors import ConfigError
from breedclf.files.paths import user_path
from breedclf.files.typed import Moment, typed
from breedclf.jobs.metric_lines import TRAINING_METRICS, MetricDefinition, check_definitions

MAX_NAME_CHARS = 63
MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_CHARS = 2_500
MAX_FAILURE_REASON_CHARS = 1_024
DATA_CHANNEL = "training"
WEIGHTS_CHANNEL = "weights"
CODE_CHANNEL = "code"
DEFAULT_MAX_RUNTIME_SECONDS = 86_400
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_CHANNEL = re.compile(r"[A-Za-z0-9_]{1,64}")
_HYPERPARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_SECRET = re.compile(
    r"secret|passw|passphrase|credential|token|api_?key|access_?key|private_?key|(^|_)(auth|pwd)(_|$)", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


class JobStatus(StrEnum):
    """Where a job is, in SageMaker's words; compares equal to the plain word."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.STOPPED)


class SecondaryStatus(StrEnum):
    """What a job is doing right now, in SageMaker's words."""

    STARTING = "Starting"
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    INTERRUPTED = "Interrupted"
    RESTARTING = "Restarting"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    COMPLETED = "Completed"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobSpec:
    """Everything that a back end needs to run one job.

    `channels` are folders or files the job reads, by name, on SageMaker also addresses in S3 (see `remote_address`);
    `source` is a folder with a `train.py` of one's own instead of the breedclf bundle; `cores` and `gpus` are what the
    job needs on this machine (None: the back end decides); `cache_dir` is a folder kept between jobs by back ends on
    this machine and ignored by others. With `spot` the job may be interrupted and started again; its checkpoints are
    kept.

    Raises:
        ConfigError: a name, a number of hyperparameters or a value is outside of a job's limits, or a hyperparameter
            looks like a secret, which would be readable by everyone who may see the job.

    Example:
        >>> JobSpec(name="my-job", hyperparameters={"epochs": "2"}).max_runtime_seconds
        86400
    """

    name: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, Path] = field(default_factory=dict)
    source: Path | None = None
    metric_definitions: tuple[MetricDefinition, ...] = TRAINING_METRICS.definitions
    environment: Mapping[str, str] = field(default_factory=dict)
    max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS
    cores: int | None = None
    gpus: int | None = None
    cache_dir: Path | None = None
    spot: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        self._set("channels", {name: user_path(path, f"channel {name!r}") for name, path in self.channels.items()})
        for name in ("source", "cache_dir"):
            if (path := getattr(self, name)) is not None:
                self._set(name, user_path(path, name))
        _check_hyperparameters(self.hyperparameters)
        _refuse_secrets("environment variable", self.environment)
        check_definitions(self.metric_definitions)
        for channel in self.channels:
            if not _CHANNEL.fullmatch(channel):
                raise ConfigError(f"channel name {channel!r}: use 1 to 64 letters, digits and _")
            if channel == CODE_CHANNEL:
                raise ConfigError(f"channel name {channel!r} is kept for the job's own code; choose another")
        if not self.max_runtime_seconds > 0:
            raise ConfigError(f"max_runtime_seconds={self.max_runtime_seconds}: give a job more than 0 seconds")
        for name, count, least in (("cores", self.cores, 1), ("gpus", self.gpus, 0)):
            if count is not None and count < least:
                raise ConfigError(f"{name}={count}: must be at least {least}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["channels"] = {name: str(path) for name, path in self.channels.items()}
        values["source"] = None if self.source is None else str(self.source)
        values["cache_dir"] = None if self.cache_dir is None else str(self.cache_dir)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; ValueError or ConfigError where a part is missing or wrong."""
        return typed(cls, values)


@dataclass(frozen=True)
class Transition:
    """A secondary status that a job entered, when (seconds since 1970, UTC), and a sentence about it."""

    status: SecondaryStatus
    time: Moment
    message: str = ""


@dataclass(frozen=True)
class MetricRecord:
    """What one line of the log reported, and when (seconds since 1970, UTC)."""

    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class JobDescription:
    """What a back end knows about a job; times are seconds since 1970 (UTC).

    `metrics` holds the value of each metric that was reported last; `details` is what only this back end knows.
    """

    name: str
    status: JobStatus
    secondary_status: SecondaryStatus
    created: Moment
    started: Moment | None = None
    ended: Moment | None = None
    failure_reason: str | None = None
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    lost: bool = False
    """Whether the job failed because the process that supervised it is gone."""

    @property
    def seconds(self) -> float | None:
        """How long the job ran; None while it hasn't ended, or if it never started."""
        return None if self.started is None or self.ended is None else max(0.0, self.ended - self.started)

    def entered(
        self,
        secondary: SecondaryStatus,
        now: float,
        message: str = "",
        *,
        status: JobStatus | None = None,
        **changes: Any,
    ) -> Self:
        """A copy that entered a secondary status (and, if given, a status)."""
        transitions = (*self.transitions, Transition(secondary, now, message))
        return replace(
            self,
            status=self.status if status is None else status,
            secondary_status=secondary,
            transitions=transitions,
            **changes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mappings = {name: dict(value) for name, value in vars(self).items() if isinstance(value, Mapping)}
        return {**vars(self), **mappings, "transitions": [dict(vars(each)) for each in self.transitions]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; ValueError where a part is missing or wrong."""
        return typed(cls, values)


@runtime_checkable
class Backend(Protocol):
    """Where jobs run. Jobs are known by name, and every method may be called from any process of the user.

    `name` is the word that selects the back end. Methods that take a job's name raise JobError when there is no such
    job. `submit` raises ConfigError when the name is taken or the request can't be met; once it returned, the job goes
    on without this process, unless the back end says otherwise.
    """

    @property
    def name(self) -> str:
        """The word that selects this back end."""

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """What `submit` would send, without sending it."""

    def submit(self, spec: JobSpec) -> None:
        """Start the job."""

    def describe(self, name: str) -> JobDescription:
        """What is known about the job now."""

    def list_jobs(self) -> list[JobDescription]:
        """All jobs, the oldest first."""

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a position (0 is its begin), and the position to go on from."""

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything the job's metric lines reported, in order."""

    def stop(self, name: str) -> None:
        """Ask a job to stop; nothing happens to one that has ended."""

    def artifact(self, name: str) -> Path:
        """A folder on this machine with the job's model, fetched if need be."""

    def output(self, name: str) -> Path:
        """A folder on this machine with everything else that the job wrote."""

    def delete(self, name: str) -> None:
        """Forget a job that has ended, and everything it wrote."""


class TuningBackend(Backend, Protocol):
    """A back end that runs many jobs at a time for a search; `parallel_spec` fits one of them to a share."""

    def parallel_spec(self, spec: JobSpec, max_parallel_jobs: int) -> JobSpec:
        """The job, asking for no more than its share of this place's cores and GPUs."""


@runtime_checkable
class PacedBackend(Protocol):
    """A back end behind a network that counts calls: it is looked at no more often than every `poll_seconds`."""

    @property
    def poll_seconds(self) -> float:
        """How long to wait, at least, between two looks."""


@runtime_checkable
class DelayedBackend(Protocol):
    """A backend whose last log lines and metrics may arrive some seconds after the job has ended."""

    @property
    def delay_seconds(self) -> float:
        """How many seconds after a job's end they may still arrive."""


def seconds_until_complete(backend: object, description: JobDescription, now: float) -> float:
    """How long to wait until the log and the metrics of a job that has ended are complete; 0 where they are.

    `now` is in seconds since 1970. A clock that differs from the backend's makes nobody wait longer than the delay.
    """
    if not isinstance(backend, DelayedBackend) or description.ended is None:
        return 0.0
    delay = backend.delay_seconds
    return min(delay, max(0.0, delay - (now - description.ended)))


def pauses(backend: Backend, *, growth: float = 1.3) -> Iterator[float]:
    """How long to wait before each next look at what runs: longer and longer, up to a limit.

    Example:
        >>> from breedclf import LocalBackend
        >>> waits = pauses(LocalBackend("/tmp/jobs"))
        >>> [round(next(waits), 3) for _ in range(3)]
        [0.02, 0.026, 0.034]
    """
    pause, longest = _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS
    if isinstance(backend, PacedBackend):
        pause, longest = backend.poll_seconds, 2 * backend.poll_seconds
    while True:
        yield pause
        pause = min(pause * growth, longest)


def new_name(prefix: str) -> str:
    """A job's name that no other has: the prefix, the time and a few random digits.

    Example:
        >>> new_name("train").startswith("train-20")
        True
    """
    return check_name(f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")


def check_name(name: str) -> str:
    """Return a valid job name.

    Raises:
        ConfigError: it is longer than 63 characters, or holds something other than letters, digits and inner hyphens.
    """
    if len(name) > MAX_NAME_CHARS:
        raise ConfigError(f"job name {name!r} has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"job name {name!r}: use letters, digits and hyphens, and begin and end with none of those")
    return name


def is_name(name: str) -> bool:
    """Whether a job or an endpoint may be called so."""
    return len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name) is not None


def remote_address(path: Path) -> str | None:
    """The address that a path stands for when it lies in S3 and not on this machine: paths swallow a double slash.

    Example:
        >>> remote_address(Path("s3://mine/dogs")), remote_address(Path("dogs"))
        ('s3://mine/dogs', None)
    """
    return "s3://" + "/".join(path.parts[1:]) if path.parts and path.parts[0] == "s3:" else None


def require_here(channel: str, path: Path) -> None:
    """For back ends that read channels on this machine.

    Raises:
        ConfigError: the channel isn't on this machine.
    """
    if (address := remote_address(path)) is not None:
        raise ConfigError(f"channel {channel}: {address} is in S3, which only a job on SageMaker reads; fetch it first")
    if not path.exists():
        raise ConfigError(f"channel {channel}: {path} is not there")


def iterate_lines(parts: Iterator[str]) -> Iterator[str]:
    """Whole lines, without their ends, from pieces of text cut anywhere; the last line may lack its end."""
    rest = ""
    for part in parts:
        *lines, rest = (rest + part).split("\n")
        yield from lines
    if rest:
        yield rest


def _check_hyperparameters(pairs: Mapping[str, str]) -> None:
    if len(pairs) > MAX_HYPERPARAMETERS:
        raise ConfigError(f"{len(pairs)} hyperparameters: a job takes at most {MAX_HYPERPARAMETERS}")
    for name, value in pairs.items():
        if not _HYPERPARAMETER.fullmatch(name):
            raise ConfigError(f"hyperparameter name {name!r}: use letters, digits and _, beginning with no digit")
        if not isinstance(value, str):
            raise ConfigError(
                f"hyperparameter {name}={value!r}: a job takes text; use TrainingConfig.to_hyperparameters"
            )
        if len(value) > MAX_HYPERPARAMETER_CHARS:
            raise ConfigError(
                f"hyperparameter {name} has {len(value)} characters; a job takes at most {MAX_HYPERPARAMETER_CHARS}"
            )
        if "'" in value:
            raise ConfigError(f"hyperparameter {name}={value!r} holds a single quote, which a job's shell can't carry")
    _refuse_secrets("hyperparameter", pairs)


def _refuse_secrets(kind: str, pairs: Mapping[str, str]) -> None:
    suspects = [name for name, value in pairs.items() if _SECRET.search(name) or _SECRET_VALUE.search(value)]
    if suspects:
        raise ConfigError(
            f"{kind} {', '.join(sorted(suspects))} looks like a secret, and everyone who may see the job could read "
            "it; rename it, or let the job read the secret from a file or a secrets manager"
        )
