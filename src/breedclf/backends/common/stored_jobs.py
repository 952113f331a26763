"""Jobs that are folders on this machine: the half of a back end that looks at them, whoever runs them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from breedclf.backends.common.folder import (
    DamagedJobError,
    JobFolder,
    JobState,
    folders_of_jobs,
    home_folder,
    jobs_root,
)
from breedclf.backends.local.locks import is_locked, try_lock
from breedclf.backends.local.processes import Identity, kill_job
from breedclf.errors import ConfigError, JobError
from breedclf.jobs import JobDescription, JobStatus, MetricRecord, SecondaryStatus, check_name
from breedclf.jobs.handle import Clock, require_ended

_START_SECONDS = 60.0

log: logging.Logger = logging.getLogger(__name__)


class StoredJobs:
    """Reads, stops and deletes the jobs of one home folder; any number of processes may do so at a time."""

    def __init__(self, home: str | Path | None = None, *, clock: Clock = time) -> None:
        self.home = home_folder(home)
        self._clock = clock

    def describe(self, name: str) -> JobDescription:
        """What is known about the job; one whose supervisor is gone is Failed from now on.

        Raises:
            JobError: there is no such job, or another breedclf wrote it.
        """
        return self.settled(self.folder(name), self.folder(name).read()).description

    def list_jobs(self) -> list[JobDescription]:
        """All jobs in the home folder, the oldest first; a damaged one is Failed, and its `details` say so.

        Of those that another breedclf wrote, a warning tells.
        """
        found = []
        for folder in folders_of_jobs(self.home):
            try:
                description = folder.read_description()
                found.append(description if description.status.is_final else self.describe(folder.name))
            except DamagedJobError as error:
                found.append(folder.damaged(str(error)))
            except (JobError, ConfigError) as error:
                log.warning("left out: %s", error)
        return sorted(found, key=lambda description: (description.created, description.name))

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a byte position, and the position to go on from."""
        return self.known(name).read_log(position)

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything that the job's metric lines reported, in order."""
        return self.known(name).metric_history()

    def stop(self, name: str) -> None:
        """Ask the job to end: SIGTERM, then, after the grace time, SIGKILL to everything it started."""
        if not self.describe(name).status.is_final:
            self.folder(name).stop_file.touch()

    def artifact(self, name: str) -> Path:
        """The folder in which the job left its model; it stays valid until the job is deleted.

        Raises:
            JobError: the job hasn't ended, or left no model.
        """
        description = self.describe(name)
        require_ended(description)
        model = self.folder(name).model
        if not model.is_dir() or not any(model.iterdir()):
            reason = f": {description.failure_reason}" if description.failure_reason else ""
            raise JobError(f"job {name} left no model; it is {description.status}{reason}")
        return model

    def output(self, name: str) -> Path:
        """The folder in which the job left everything but its model."""
        require_ended(self.describe(name))
        return self.folder(name).output_data

    def delete(self, name: str) -> None:
        """Remove the folder of a job that has ended, or of one that nobody looks after and that can't be read.

        Raises:
            JobError: there is no such job, or it hasn't ended.
        """
        folder = self.folder(name)
        try:
            description = self.describe(name)
        except JobError:
            if not folder.path.is_dir() or is_locked(folder.lock_file):
                raise
        else:
            require_ended(description)
        trash = folder.path.with_name(f".old-{folder.name}")
        shutil.rmtree(trash, ignore_errors=True)
        folder.path.rename(trash)
        shutil.rmtree(trash)

    def folder(self, name: str) -> JobFolder:
        """The folder that a job of this name has or would have."""
        return JobFolder(jobs_root(self.home) / check_name(name))

    def known(self, name: str) -> JobFolder:
        """The folder of a job that is there; raises JobError for any other."""
        self.describe(name)
        return self.folder(name)

    def settled(self, folder: JobFolder, state: JobState, *, grace_seconds: float = _START_SECONDS) -> JobState:
        """The state; of a job that runs without its supervisor, after that was put right.

        Who holds the folder's lock is the job's only writer, so that two processes that look at once agree, and a clock
        that jumps can't make a living supervisor look dead.
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
            state = folder.read()  # it may have ended well since we looked
            if state.description.status.is_final:
                return state
            kill_job(None if state.process is None else Identity.from_dict(state.process), str(folder.path))
            description = state.description.entered(
                SecondaryStatus.FAILED,
                self._clock.time(),
                "its supervisor is gone",
                status=JobStatus.FAILED,
                ended=self._clock.time(),
                failure_reason="supervisor lost: the process that looked after the job was killed or the machine "
                "restarted; submit the job again under another name",
            )
            state = replace(state, description=description)
            folder.write(state)
            return state
        finally:
            os.close(lock)
