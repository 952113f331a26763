"""`JobStore`: describes, stops and deletes the jobs of one home folder, whichever backend runs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

from breedclf.backends.common.folder import JobFolder, JobState, job_folder
from breedclf.backends.common.job_list import JobList
from breedclf.backends.common.locks import is_locked, try_lock
from breedclf.backends.common.processes import Identity, kill_job
from breedclf.errors import JobError
from breedclf.files.file_stat import FileStat
from breedclf.jobs import JobDescription, JobStatus, MetricRecord, SecondaryStatus
from breedclf.jobs.handle import Clock, require_ended
from breedclf.jobs.protocols import JobRecord, LogTail

_ALIVE_SECONDS, _CHANGED_SECONDS = 3.0, 0.5
_RECENT_SECONDS = 2.0  # within which a folder may change again without another time
_START_SECONDS = 60.0
_EXIT_SECONDS = 3.0
_POLL_SECONDS = 0.05


class JobStore:
    """The jobs of a home folder; any number of processes may use it at the same time."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._list = JobList(home, self.describe)

    def describe(self, name: str) -> JobDescription:
        """The job's current state; a job whose supervisor is gone becomes Failed.

        Raises:
            JobError: there is no such job, or another version of breedclf wrote it.
        """
        folder = self._folder(name)
        return self._list.read_one(name, lambda: self.refresh(folder, folder.read()).description)

    def describe_all(self) -> list[JobDescription]:
        """All jobs in the home folder, oldest first.

        A damaged job is Failed and has `details["damaged"]`. Jobs of another version of breedclf are skipped with a
        warning. An ended job is read again only if its file has changed.
        """
        return self._list.read()

    def stamp(self, name: str | None = None) -> Hashable:
        """Times and sizes of the files of a job, or of the folder of jobs and the states of those that may change.

        While one hasn't ended, the stamp changes every three seconds as well: its processes may have been killed.
        """
        if name is None:
            is_recent = abs(self._clock.time() - self._list.changed) < _RECENT_SECONDS
            return self._list.stamp(), self._age(fast=is_recent, over=self._list.is_over)
        folder = str(self._folder(name).path)
        state, events, log_file = (FileStat.at(f"{folder}/{each}") for each in ("job.json", "events.jsonl", "log.txt"))
        return state, events, log_file, self._age(over=self._list.ended(name) is not None)

    def _age(self, *, over: bool, fast: bool = False) -> int:
        """A number that changes every three seconds, or half a second after a change; 0 if all is over."""
        seconds = _CHANGED_SECONDS if fast else _ALIVE_SECONDS
        return 0 if over and not fast else 1 + int(self._clock.monotonic() / seconds)

    def read_log(self, name: str, position: int) -> tuple[str, int]:
        """The job's log from a byte position, and the position to continue from."""
        return self.existing(name).read_log(position)

    def log_tail(self, name: str, max_bytes: int) -> LogTail:
        """The last lines of the job's log."""
        return self.existing(name).log_tail(max_bytes)

    def record(self, name: str) -> JobRecord:
        """What the job was submitted with, and the folders it left."""
        folder = self._folder(name)
        state = folder.read()
        places = {
            "model": folder.model,
            "output": folder.output_data,
            "profile": folder.output_data / "profile",
            "checkpoints": folder.checkpoints,
        }
        return JobRecord(state.spec, state.options, {what: path for what, path in places.items() if _is_filled(path)})

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything that the job's metric lines reported, in order."""
        return self.existing(name).metric_history()

    def stop(self, name: str) -> None:
        """Ask the job to end: SIGTERM, then, after the grace period, SIGKILL to everything it started."""
        if not self.describe(name).status.is_final:
            self._folder(name).stop_file.touch()

    def artifact(self, name: str) -> Path:
        """The folder of the job's model; it remains valid until the job is deleted.

        Raises:
            JobError: the job hasn't ended, or wrote no model.
        """
        description = self.describe(name)
        require_ended(description)
        model = self._folder(name).model
        if not model.is_dir() or not any(model.iterdir()):
            reason = f": {description.failure_reason}" if description.failure_reason else ""
            raise JobError(f"job {name} left no model; it is {description.status}{reason}")
        return model

    def output(self, name: str) -> Path:
        """The folder of everything else that the job wrote.

        Raises:
            JobError: the job hasn't ended.
        """
        require_ended(self.describe(name))
        return self._folder(name).output_data

    def delete(self, name: str) -> None:
        """Remove the folder of a job that has ended, or of one that can't be read and has no supervisor.

        Raises:
            JobError: there is no such job, or it hasn't ended.
        """
        folder = self._folder(name)
        try:
            description = self.describe(name)
        except JobError:
            if not folder.path.is_dir() or self._stays_locked(folder):
                raise
        else:
            require_ended(description)
        trash = folder.path.with_name(f".old-{folder.name}")
        shutil.rmtree(trash, ignore_errors=True)
        folder.path.rename(trash)
        shutil.rmtree(trash)

    def _stays_locked(self, folder: JobFolder) -> bool:
        """Whether the job has a supervisor; one that has just written the job's end exits within a moment."""
        deadline = self._clock.monotonic() + _EXIT_SECONDS
        while is_locked(folder.lock_file):
            if self._clock.monotonic() >= deadline:
                return True
            self._clock.sleep(_POLL_SECONDS)
        return False

    def existing(self, name: str) -> JobFolder:
        """The folder of a job that exists; raises JobError for any other."""
        self.describe(name)
        return self._folder(name)

    def refresh(self, folder: JobFolder, state: JobState, *, grace_seconds: float = _START_SECONDS) -> JobState:
        """The job's state, after marking a job whose supervisor is gone as Failed.

        Only the process that holds the folder's lock writes the state, so two processes that refresh at the same time
        agree. Supervisors are recognized by their start time, so a clock that jumps doesn't make one look dead.
        """
        if state.description.status.is_final:
            return state
        if state.supervisor is None:
            if self._clock.time() - state.description.created < grace_seconds:
                return state  # it is being started
        elif Identity.from_dict(state.supervisor).is_alive:
            return state
        lock = try_lock(folder.lock_file)
        if lock is None:
            return state
        try:
            state = folder.read()  # it may have ended normally in the meantime
            if state.description.status.is_final:
                return state
            kill_job(None if state.process is None else Identity.from_dict(state.process), str(folder.path))
            description = state.description.entered(
                SecondaryStatus.FAILED,
                self._clock.time(),
                "the supervisor is gone",
                status=JobStatus.FAILED,
                ended=self._clock.time(),
                failure_reason="supervisor lost: the process that supervised the job was killed or the machine "
                "restarted; submit the job again under another name",
                lost=True,
            )
            state = replace(state, description=description)
            folder.write(state)
            return state
        finally:
            os.close(lock)

    def _folder(self, name: str) -> JobFolder:
        return job_folder(self._home, name)


def _is_filled(path: Path) -> bool:
    try:
        return any(path.iterdir())
    except OSError:
        return False
