"""The state of a job: its status, what it reported, and when each state was entered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from breedclf.files.typed import Moment, typed


class JobStatus(StrEnum):
    """The status of a job, in SageMaker's words; compares equal to the plain string."""

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
class Transition:
    """A secondary status that a job entered, the time (seconds since 1970, UTC), and a message."""

    status: SecondaryStatus
    time: Moment
    message: str = ""


@dataclass(frozen=True)
class MetricRecord:
    """The metrics that one log line reported, and the time (seconds since 1970, UTC)."""

    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class JobDescription:
    """A snapshot of a job; times are seconds since 1970 (UTC).

    `metrics` holds the last reported value of each metric; `details` is specific to the backend.
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
        """The inverse of `to_dict`; ValueError if a part is missing or wrong."""
        return typed(cls, values)
