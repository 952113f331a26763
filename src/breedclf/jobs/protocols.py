"""What a backend must offer, and what it may offer on top: small Protocols, checked with isinstance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from breedclf.jobs.spec import JobSpec
from breedclf.jobs.status import JobDescription, MetricRecord

Planned = TypeVar("Planned", contravariant=True)
PlanType = TypeVar("PlanType", covariant=True)


@runtime_checkable
class Backend(Protocol):
    """Runs jobs. Jobs are identified by name, and every method may be called from any process of the user.

    Methods that take a job's name raise JobError if there is no such job. `submit` raises ConfigError if the name is
    taken or the request can't be met; once it returns, the job runs independently of this process, unless the backend's
    documentation says otherwise.
    """

    @property
    def name(self) -> str:
        """The name that selects this backend, such as "local"."""

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """What `submit` would send, without sending it."""

    def submit(self, spec: JobSpec) -> None:
        """Start the job."""

    def describe(self, name: str) -> JobDescription:
        """A snapshot of the job."""

    def list_jobs(self) -> list[JobDescription]:
        """All jobs, oldest first."""

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a position (0 is the start), and the position to continue from."""

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything the job's metric lines reported, in order."""

    def stop(self, name: str) -> None:
        """Ask a job to stop; does nothing if it has ended."""

    def artifact(self, name: str) -> Path:
        """A folder on this machine with the job's model, fetched if needed."""

    def output(self, name: str) -> Path:
        """A folder on this machine with everything else that the job wrote."""

    def delete(self, name: str) -> None:
        """Delete a job that has ended, and everything it wrote."""


@runtime_checkable
class TuningBackend(Backend, Protocol):
    """A backend whose jobs share one machine, so that each trial of a search must be given its share of it."""

    def parallel_spec(self, spec: JobSpec, max_parallel_jobs: int) -> JobSpec:
        """The job, limited to its share of the cores and GPUs when `max_parallel_jobs` run at a time."""


@runtime_checkable
class PacedBackend(Protocol):
    """A backend behind a rate-limited service, to be polled at most every `poll_seconds`."""

    @property
    def poll_seconds(self) -> float:
        """The minimum number of seconds between two polls."""


@runtime_checkable
class StampedBackend(Protocol):
    """A backend that can tell cheaply whether something may have changed since it was last asked."""

    def stamp(self, name: str | None = None) -> Hashable:
        """A value that differs once a job, its metrics or its log differ; without a name, once the list of jobs does.

        A job whose processes were killed is noticed only when it is described.
        """


@runtime_checkable
class LabeledBackend(Protocol):
    """A backend that is shown under another name than the one that selects it."""

    @property
    def label(self) -> str:
        """What pages call it, such as "emulator" for the SageMaker backend with the URL of one."""


@runtime_checkable
class DelayedBackend(Protocol):
    """A backend whose last log lines and metrics may arrive some seconds after the job has ended."""

    @property
    def delay_seconds(self) -> float:
        """How many seconds after a job's end they may still arrive."""


@runtime_checkable
class JoiningBackend(Protocol):
    """A backend whose jobs have processes on this machine, which may outlive a job's end by an instant."""

    def join(self, name: str) -> None:
        """Wait until all processes of an ended job are gone.

        Raises:
            JobError: there is no such job.
        """


@dataclass(frozen=True)
class LogTail:
    """The end of a log: its text, where it starts, and how long the log is, in the positions of `read_log`.

    `position` and `size` are None for a service that doesn't tell.
    """

    text: str
    position: int | None = None
    size: int | None = None


@runtime_checkable
class TailingBackend(Protocol):
    """A backend that reads the end of a log without the rest of it, and reads on from any position."""

    def log_tail(self, name: str, max_bytes: int) -> LogTail:
        """The last lines of a job's log, about `max_bytes` at most.

        Raises:
            JobError: there is no such job, or its log can't be read.
        """


@dataclass(frozen=True)
class JobRecord:
    """What a backend stores of a job besides its description.

    `options` are specific to the backend; `folders` are those that the job has filled so far, by what they hold.
    """

    spec: JobSpec
    options: Mapping[str, Any]
    folders: Mapping[str, Path]


@runtime_checkable
class RecordingBackend(Protocol):
    """A backend that stores the specifications of its jobs."""

    def record(self, name: str) -> JobRecord:
        """What a job was submitted with, and the folders it left.

        Raises:
            JobError: there is no such job, or its state is damaged.
        """


@runtime_checkable
class HomeBackend(Protocol):
    """A backend that stores files on this machine, below its `home`."""

    @property
    def home(self) -> Path:
        """The folder, usually `BREEDCLF_HOME` or `.breedclf`."""


@runtime_checkable
class PlanningBackend(Protocol[Planned, PlanType]):
    """A backend that costs money, and estimates what a job, a search or an endpoint would create and cost."""

    def plan(self, what: Planned, *, dry_run: bool = False) -> PlanType:
        """The estimate; nothing is started. With `dry_run` the exact requests are printed, too."""


@runtime_checkable
class OutputHereBackend(Protocol):
    """A backend that has the output of jobs on this machine, or copies of it."""

    def output_here(self, job: JobDescription) -> Path:
        """The folder on this machine for a job's output, also while it runs; it may not exist, and nothing is fetched.

        Raises:
            ConfigError: the job's name isn't valid.
        """
