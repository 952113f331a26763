"""`LocalBackend`: jobs in processes of this machine that outlive the one that started them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from breedclf.backends.common.bundle import breedclf_bundle, source_bundle, store_bundle
from breedclf.backends.common.container import ENTRY, job_arguments, job_environment
from breedclf.backends.common.folder import JobFolder, create_job_folder, jobs_root
from breedclf.backends.common.stored_jobs import StoredJobs
from breedclf.backends.local.endpoints import LocalEndpoints
from breedclf.backends.local.processes import MARK, Identity, run_supervisor
from breedclf.backends.local.slots import cores_of_this_machine, gpus_of_this_machine
from breedclf.errors import ConfigError, JobError
from breedclf.files.paths import user_path
from breedclf.jobs import JobSpec, require_here
from breedclf.jobs.handle import Clock

SUPERVISOR = "breedclf.backends.local.supervisor"
DEFAULT_STOP_GRACE_SECONDS = 120.0
DEFAULT_MAX_LOG_BYTES = 64 << 20
_JOIN_SECONDS = 10.0
_JOIN_PAUSE_SECONDS = 0.01


class LocalBackend(StoredJobs, LocalEndpoints):
    """Runs each job and endpoint in processes of its own, watched by a small supervisor that outlives this process.

    Args:
        home: folder that holds the jobs; `BREEDCLF_HOME` or `.breedclf` if not given.
        cores: cores that all jobs together may use; all of this machine's if not given. A job that doesn't say how many
            it needs gets all of them, so that jobs run one after another.
        gpus: the GPUs that jobs may use, as CUDA_VISIBLE_DEVICES names them; all of this machine's if not given.
        stop_grace_seconds: time between asking a job to end and killing it.
        preload: start jobs from a process that has torch imported, which saves that time for every job after the first;
            the process ends by itself when it is idle.
        python: the interpreter of the jobs; this one if not given.
        max_log_bytes: the log's size limit; of a longer log the begin and the end are kept.

    Example:
        >>> LocalBackend("/tmp/jobs", cores=2).name
        'local'
    """

    name = "local"

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        cores: int | None = None,
        gpus: Sequence[str] | None = None,
        stop_grace_seconds: float = DEFAULT_STOP_GRACE_SECONDS,
        preload: bool = False,
        python: str | Path | None = None,
        max_log_bytes: int = DEFAULT_MAX_LOG_BYTES,
        clock: Clock = time,
    ) -> None:
        if os.name != "posix":
            raise ConfigError("the local back end needs Linux or macOS; use backend=inline on this system")
        super().__init__(home, clock=clock)
        self.cores = cores_of_this_machine() if cores is None else cores
        self.gpus = gpus_of_this_machine() if gpus is None else tuple(gpus)
        self.stop_grace_seconds = stop_grace_seconds
        self.preload = preload
        self.python = sys.executable if python is None else str(user_path(python, "python"))
        self.max_log_bytes = max_log_bytes

    def __repr__(self) -> str:
        return f"LocalBackend({str(self.home)!r}, cores={self.cores}, gpus={list(self.gpus)})"

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The command, environment and limits that the job would get, without starting it."""
        options = self._options(spec)
        folder = JobFolder(jobs_root(self.home) / spec.name)
        gpus = self.gpus[: options["gpus"]]
        return {
            "name": spec.name,
            "folder": str(folder.path),
            "command": [self.python, "-u", ENTRY, *job_arguments(spec)],
            "environment": job_environment(folder, spec, cores=options["cores"], gpus=gpus, outer=os.environ),
            "hyperparameters": dict(spec.hyperparameters),
            "channels": {name: str(path) for name, path in spec.channels.items()},
            "metric_definitions": [{"Name": each.name, "Regex": each.regex} for each in spec.metric_definitions],
            "max_runtime_seconds": spec.max_runtime_seconds,
            **options,
        }

    def submit(self, spec: JobSpec) -> None:
        """Start the job; it goes on when this process ends.

        Raises:
            ConfigError: the name is taken, an input isn't there, or the job asks for more than this machine has.
        """
        options = self._options(spec)
        for channel, path in spec.channels.items():
            require_here(channel, path)
        bundle = breedclf_bundle() if spec.source is None else source_bundle(spec.source)
        try:
            options["bundle"] = str(store_bundle(bundle, self.home))
        except OSError as error:
            raise ConfigError(f"the jobs' folder {self.home} can't be written: {error}") from error
        folder = create_job_folder(self.home, spec, backend=self.name, options=options, now=self._clock.time())
        self._start_supervisor(folder)

    def interrupt(self, name: str) -> None:
        """Play a spot interruption: end the job's process and start it again with nothing but its checkpoints.

        Raises:
            ConfigError: the job wasn't submitted with `spot=True`.
            JobError: it has ended.
        """
        state = self.known(name).read()
        if not state.spec.spot:
            raise ConfigError(f"job {name} was not submitted with spot=True, so nothing interrupts it")
        if self.describe(name).status.is_final:
            raise JobError(f"job {name} has ended; there is nothing to interrupt")
        self.folder(name).interrupt_file.touch()

    def close(self) -> None:
        """End the process that `preload` keeps, if there is one; jobs go on, and the next one starts it again."""
        if self.preload:
            from breedclf.backends.local.forkserver import end_forkserver

            end_forkserver(self.home, self.python)

    def join(self, name: str, *, timeout_seconds: float = _JOIN_SECONDS) -> None:
        """Wait until the supervisor of an ended job is gone too: it outlives the job's end by an instant.

        Raises:
            JobError: there is no such job.
        """
        supervisor = self.known(name).read().supervisor
        until = self._clock.monotonic() + timeout_seconds
        while supervisor and Identity.from_dict(supervisor).is_alive and self._clock.monotonic() < until:
            self._clock.sleep(_JOIN_PAUSE_SECONDS)

    def parallel_spec(self, spec: JobSpec, max_parallel_jobs: int) -> JobSpec:
        """The job, asking for its share of the cores and GPUs when so many run at a time."""
        share = max(1, self.cores // max_parallel_jobs)
        gpus = min(1, len(self.gpus)) if max_parallel_jobs > 1 else None
        return spec.replace(
            cores=share if spec.cores is None else spec.cores, gpus=gpus if spec.gpus is None else spec.gpus
        )

    def _options(self, spec: JobSpec) -> dict[str, Any]:
        cores = self.cores if spec.cores is None else spec.cores
        gpus = min(1, len(self.gpus)) if spec.gpus is None else spec.gpus
        if cores > self.cores:
            raise ConfigError(f"cores={cores}: only {self.cores} are there for jobs; ask for fewer")
        if gpus > len(self.gpus):
            raise ConfigError(f"gpus={gpus}: only {len(self.gpus)} are there for jobs; ask for fewer")
        return {
            "home": str(self.home),
            "python": self.python,
            "cores": cores,
            "gpus": gpus,
            "total_cores": self.cores,
            "total_gpus": list(self.gpus),
            "stop_grace_seconds": self.stop_grace_seconds,
            "max_log_bytes": self.max_log_bytes,
            "preload": self.preload,
        }

    def _start_supervisor(self, folder: JobFolder) -> None:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        if run_supervisor(SUPERVISOR, folder.path, folder.path / "supervisor.log", environment, cwd=folder.path):
            self.settled(folder, folder.read(), grace_seconds=0.0)
