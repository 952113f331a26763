"""`StoredBackend`: the methods that all backends on this machine share, passed on to their parts."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import ClassVar

from breedclf.backends.common.folder import home_folder, job_folder
from breedclf.backends.common.job_store import JobStore
from breedclf.backends.local.endpoints import LocalEndpoints
from breedclf.files.paths import StrPath
from breedclf.jobs import JobDescription, MetricRecord
from breedclf.jobs.endpoint_activity import EndpointActivity
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec
from breedclf.jobs.protocols import JobRecord, LogTail
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock


class StoredBackend:
    """Stored jobs and local endpoints of one home folder; subclasses add how a job runs.

    Args:
        home: folder of jobs and endpoints; `BREEDCLF_HOME` or `.breedclf` if None.
        clock: the time, for tests.
    """

    serves_on_this_machine: ClassVar[bool] = True

    def __init__(self, home: StrPath | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.home: Path = home_folder(home)
        self._clock = clock
        self._jobs = JobStore(self.home, clock)
        self._endpoints = LocalEndpoints(self.home)

    def __eq__(self, other: object) -> bool:
        """Backends of one kind and home folder have the same jobs and endpoints, so they are equal."""
        return isinstance(other, StoredBackend) and (type(self), self.home) == (type(other), other.home)

    def __hash__(self) -> int:
        return hash((type(self), self.home))

    def describe(self, name: str) -> JobDescription:
        """The job's current state; a job whose supervisor is gone becomes Failed.

        Raises:
            JobError: there is no such job, or another version of breedclf wrote it.
        """
        return self._jobs.describe(name)

    def list_jobs(self) -> list[JobDescription]:
        """All jobs in the home folder, oldest first; damaged ones are Failed."""
        return self._jobs.describe_all()

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a byte position, and the position to continue from.

        Raises:
            JobError: there is no such job.
        """
        return self._jobs.read_log(name, position)

    def log_tail(self, name: str, max_bytes: int) -> LogTail:
        """The last lines of the job's log, at most `max_bytes` of them; positions are bytes.

        Raises:
            JobError: there is no such job.
        """
        return self._jobs.log_tail(name, max_bytes)

    def record(self, name: str) -> JobRecord:
        """What the job was submitted with, and the folders it left so far.

        Raises:
            JobError: there is no such job, or its state is damaged.
        """
        return self._jobs.record(name)

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything that the job's metric lines reported, in order.

        Raises:
            JobError: there is no such job.
        """
        return self._jobs.metric_history(name)

    def stamp(self, name: str | None = None) -> Hashable:
        """Times and sizes of the files of a job, or of the states of all jobs."""
        return self._jobs.stamp(name)

    def stop(self, name: str) -> None:
        """Ask the job to end: SIGTERM, then, after the grace period, SIGKILL to everything it started.

        Raises:
            JobError: there is no such job.
        """
        self._jobs.stop(name)

    def artifact(self, name: str) -> Path:
        """The folder of the job's model; it remains valid until the job is deleted.

        Raises:
            JobError: the job hasn't ended, or wrote no model.
        """
        return self._jobs.artifact(name)

    def output(self, name: str) -> Path:
        """The folder of everything else that the job wrote.

        Raises:
            JobError: the job hasn't ended.
        """
        return self._jobs.output(name)

    def output_here(self, job: JobDescription) -> Path:
        """The folder of everything else that a job writes, also while it runs."""
        return job_folder(self.home, job.name).output_data

    def delete(self, name: str) -> None:
        """Delete a job that has ended, and everything it wrote.

        Raises:
            JobError: there is no such job, or it hasn't ended.
        """
        self._jobs.delete(name)

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Start serving a model on a loopback port.

        Raises:
            ConfigError: the name is taken.
            ArtifactError: the folder holds no model.
            EndpointError: the model can't be copied, or the supervisor didn't start.
        """
        self._endpoints.create(spec)

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """The endpoint's current state; Failed if its supervisor is gone.

        Raises:
            EndpointError: there is no such endpoint.
        """
        return self._endpoints.describe(name)

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints, oldest first."""
        return self._endpoints.describe_all()

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Start replacing the model and return the new generation; the old model answers until the new one is checked.

        Raises:
            EndpointError: there is no such endpoint, or it isn't in service.
            ArtifactError: the folder holds no model.
        """
        return self._endpoints.update(name, artifact)

    def delete_endpoint(self, name: str) -> None:
        """Shut the endpoint down after it has answered the requests it accepted.

        Raises:
            EndpointError: there is no such endpoint.
        """
        self._endpoints.delete(name)

    def invoke_endpoint(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        """Send a request to the model and return its answer, with retries until `timeout_seconds` have passed.

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no such endpoint, it has failed, or there was no answer in time.
        """
        return self._endpoints.invoke(
            name, body, content_type=content_type, timeout_seconds=timeout_seconds, attributes=attributes
        )

    def endpoint_activity(self, name: str) -> EndpointActivity:
        """The requests of the last hour, by the endpoint's log.

        Raises:
            EndpointError: the log can't be read.
        """
        return self._endpoints.activity(name)
