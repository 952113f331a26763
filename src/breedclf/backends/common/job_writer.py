"""`JobWriter`: writes the state, events and archives of a running job, whose folder its caller has locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum

from breedclf.backends.common.archive import archive_folder
from breedclf.backends.common.failure import failure_reason
from breedclf.backends.common.folder import JobFolder, JobState, ProcessValues
from breedclf.jobs import JobStatus, SecondaryStatus
from breedclf.jobs.handle import Clock

_MAX_METRIC_EVENTS = 100_000


class Ending(Enum):
    """Why a job is ended before it ends by itself."""

    STOP = "stop"
    MAX_RUNTIME = "max runtime"
    INTERRUPTION = "spot interruption"


class JobWriter:
    """Writes what happens to a job.

    Args:
        folder: the job's folder.
        state: the state so far.
        clock: the time.
        save_seconds: the shortest time between two writes of the state for metrics alone.
    """

    def __init__(self, folder: JobFolder, state: JobState, clock: Clock, *, save_seconds: float = 0.0) -> None:
        self.state: JobState = state
        self._folder = folder
        self._clock = clock
        self._save_seconds = save_seconds
        self._saved = clock.monotonic()
        self._is_due = False
        self._metric_events = 0

    def enter(
        self,
        secondary: SecondaryStatus,
        message: str,
        status: JobStatus | None = None,
        *,
        ends: bool = False,
        process: ProcessValues | None = None,
        **changes: object,
    ) -> None:
        """Enter a secondary status and save; `ends` sets the job's end to now, `changes` other description fields."""
        now = self._clock.time()
        if ends:
            changes["ended"] = now
        self.state = replace(
            self.state,
            description=self.state.description.entered(secondary, now, message, status=status, **changes),
            process=self.state.process if process is None else process,
        )
        self.save()
        with suppress(OSError):  # events are secondary to the state
            self._folder.add_event("status", now, status=secondary, message=message)

    def enter_stopping(self, ending: Ending) -> None:
        """Record why the job is being ended."""
        if ending is Ending.INTERRUPTION:
            self.enter(SecondaryStatus.INTERRUPTED, "spot interruption requested")
        elif ending is Ending.MAX_RUNTIME:
            limit = self.state.spec.max_runtime_seconds
            self.enter(SecondaryStatus.STOPPING, f"it ran longer than {limit:g} seconds", JobStatus.STOPPING)
        else:
            self.enter(SecondaryStatus.STOPPING, "stop requested", JobStatus.STOPPING)

    def record_metrics(self, records: Sequence[Mapping[str, float]]) -> None:
        """Add the metrics of log lines to the events and to the description."""
        for values in records:
            description = self.state.description
            metrics = {**description.metrics, **values}
            self.state = replace(self.state, description=replace(description, metrics=metrics))
            self._is_due = True
            if self._metric_events < _MAX_METRIC_EVENTS:
                self._metric_events += 1
                self._folder.add_event("metrics", self._clock.time(), values=dict(values))

    def finish(self, exit_code: int, ending: Ending | None) -> None:
        """Pack what the job wrote and enter its final status; `ending` is None for a job that ended by itself."""
        details = {**self.state.description.details, "exit_code": exit_code}
        self.state = replace(self.state, description=replace(self.state.description, details=details))
        self.enter(SecondaryStatus.UPLOADING, "packing the job's files")
        folder = self._folder
        folder.archives.mkdir(exist_ok=True)
        archive_folder(folder.model, folder.archives / "model.tar.gz")
        archive_folder(folder.output_data, folder.archives / "output.tar.gz")
        if ending is Ending.MAX_RUNTIME:
            self.enter(SecondaryStatus.MAX_RUNTIME_EXCEEDED, "stopped at its time limit", JobStatus.STOPPED, ends=True)
        elif ending is Ending.STOP:
            self.enter(SecondaryStatus.STOPPED, "stopped on request", JobStatus.STOPPED, ends=True)
        elif exit_code == 0:
            self.enter(SecondaryStatus.COMPLETED, "done", JobStatus.COMPLETED, ends=True)
        else:
            self.fail(failure_reason(folder, exit_code))

    def fail(self, reason: str) -> None:
        """Enter Failed."""
        self.enter(SecondaryStatus.FAILED, "failed", JobStatus.FAILED, ends=True, failure_reason=reason)

    def save_if_due(self) -> None:
        """Write the state if metrics changed it and `save_seconds` have passed since the last write."""
        if self._is_due and self._clock.monotonic() - self._saved >= self._save_seconds:
            self.save()

    def save(self) -> None:
        """Write the state now."""
        self._folder.write(self.state)
        self._is_due = False
        self._saved = self._clock.monotonic()
