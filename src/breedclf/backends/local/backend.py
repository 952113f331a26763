"""`LocalBackend`: jobs in processes of this machine that outlive the process that submitted them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.backends.common.bundle import breedclf_bundle, store_bundle
from breedclf.backends.common.container import ENTRY, job_arguments, job_environment
from breedclf.backends.common.folder import JobFolder, create_job_folder, job_folder
from breedclf.backends.common.processes import MARK, Identity, run_supervisor
from breedclf.backends.common.submission import checked_source, job_request
from breedclf.backends.local.forkserver_client import end_forkservers, is_prepared
from breedclf.backends.local.slots import gpus_of_this_machine
from breedclf.backends.local.stored_backend import StoredBackend
from breedclf.errors import ConfigError, JobError
from breedclf.files.paths import StrPath, user_path
from breedclf.jobs import JobSpec
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.runtime.machine import available_cores

SUPERVISOR = "breedclf.backends.local.supervisor"
DEFAULT_STOP_GRACE_SECONDS = 120.0
DEFAULT_MAX_LOG_BYTES = 64 << 20
_JOIN_SECONDS = 10.0
_JOIN_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class LocalSettings:
    """How a local backend runs its jobs; `LocalBackend` describes each value."""

    cores: int
    gpus: tuple[str, ...]
    stop_grace_seconds: float
    preload: bool | None
    python: str
    max_log_bytes: int


class LocalBackend(StoredBackend):
    """Runs each job and endpoint in its own processes, watched by a small supervisor that outlives this process.

    Args:
        home: folder of jobs and endpoints; `BREEDCLF_HOME` or `.breedclf` if not given.
        cores: cores for all jobs together; all of this machine's if not given. A job that doesn't set `cores` gets all
            of them, so such jobs run one after another.
        gpus: GPUs for all jobs together, as in CUDA_VISIBLE_DEVICES; all of this machine's if not given.
        stop_grace_seconds: seconds between asking a job to end and killing it.
        preload: whether jobs are forked from a process that has imported torch, which saves the import for every job
            after the first; the process exits when it is idle. By default breedclf's own jobs without a GPU are, on
            Linux and with this interpreter; True adds all others on Linux, False turns it off.
        python: the interpreter of the jobs; this one if not given.
        max_log_bytes: the log's size limit in bytes; the middle of a longer log is dropped.

    Raises:
        ConfigError: this system isn't POSIX.

    Example:
        >>> LocalBackend("/tmp/jobs", cores=2).name
        'local'
    """

    name = "local"

    def __init__(
        self,
        home: StrPath | None = None,
        *,
        cores: int | None = None,
        gpus: Sequence[str] | None = None,
        stop_grace_seconds: float = DEFAULT_STOP_GRACE_SECONDS,
        preload: bool | None = None,
        python: StrPath | None = None,
        max_log_bytes: int = DEFAULT_MAX_LOG_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if os.name != "posix":
            raise ConfigError("the local backend needs Linux or macOS; use backend=inline on this system")
        super().__init__(home, clock=clock)
        self.settings: LocalSettings = LocalSettings(
            cores=available_cores() if cores is None else cores,
            gpus=gpus_of_this_machine() if gpus is None else tuple(gpus),
            stop_grace_seconds=stop_grace_seconds,
            preload=preload,
            python=sys.executable if python is None else str(user_path(python, "python")),
            max_log_bytes=max_log_bytes,
        )

    def __repr__(self) -> str:
        return f"LocalBackend({str(self.home)!r}, cores={self.settings.cores}, gpus={list(self.settings.gpus)})"

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The command, environment and limits that the job would get, without starting it.

        Raises:
            ConfigError: the job needs more cores or GPUs than this backend has.
        """
        options = self._options(spec)
        folder = job_folder(self.home, spec.name)
        gpus = self.settings.gpus[: options["gpus"]]
        environment = job_environment(folder, spec, cores=options["cores"], gpus=gpus, outer=os.environ)
        command = [self.settings.python, "-u", ENTRY, *job_arguments(spec)]
        return {**job_request(folder, spec, environment), "command": command, **options}

    def submit(self, spec: JobSpec) -> None:
        """Start the job; it continues after this process has ended.

        Raises:
            ConfigError: the name is taken, an input is missing, or the job needs more than this backend has.
        """
        options = self._options(spec)
        bundle = checked_source(spec) or breedclf_bundle(modules=spec.modules)
        try:
            options["bundle"] = str(store_bundle(bundle, self.home))
        except OSError as error:
            raise ConfigError(f"the home folder {self.home} can't be written: {error}") from error
        folder = create_job_folder(self.home, spec, backend=self.name, options=options, now=self._clock.time())
        self._start_supervisor(folder)

    def interrupt(self, name: str) -> None:
        """Simulate a spot interruption: end the job's process and restart it with nothing but its checkpoints.

        Raises:
            ConfigError: the job wasn't submitted with `spot=True`.
            JobError: it has ended.
        """
        folder = self._jobs.existing(name)
        state = folder.read()
        if not state.spec.spot:
            raise ConfigError(f"job {name} can't be interrupted: it was not submitted with spot=True")
        if state.description.status.is_final:
            raise JobError(f"job {name} can't be interrupted: it has ended")
        folder.interrupt_file.touch()

    def close(self) -> None:
        """End the idle processes that jobs are forked from; running jobs continue, and the next job starts one again.

        They are shared by all backends of this user with this interpreter.
        """
        end_forkservers(self.settings.python)

    def join(self, name: str, *, timeout_seconds: float = _JOIN_SECONDS) -> None:
        """Wait until the supervisor of an ended job has exited, which happens an instant after the job's end.

        Raises:
            JobError: there is no such job.
        """
        supervisor = self._jobs.existing(name).read().supervisor
        until = self._clock.monotonic() + timeout_seconds
        while supervisor and Identity.from_dict(supervisor).is_alive and self._clock.monotonic() < until:
            self._clock.sleep(_JOIN_PAUSE_SECONDS)

    def parallel_spec(self, spec: JobSpec, max_parallel_jobs: int) -> JobSpec:
        """The job with an equal share of the cores, and at most one GPU, for `max_parallel_jobs` at the same time."""
        share = max(1, self.settings.cores // max_parallel_jobs)
        gpus = min(1, len(self.settings.gpus)) if max_parallel_jobs > 1 else None
        return spec.replace(
            cores=share if spec.cores is None else spec.cores, gpus=gpus if spec.gpus is None else spec.gpus
        )

    def _options(self, spec: JobSpec) -> dict[str, Any]:
        """The part of the job's state that its supervisor reads."""
        settings = self.settings
        cores = settings.cores if spec.cores is None else spec.cores
        gpus = min(1, len(settings.gpus)) if spec.gpus is None else spec.gpus
        if cores > settings.cores:
            raise ConfigError(f"cores={cores}: only {settings.cores} are available for jobs; use fewer")
        if gpus > len(settings.gpus):
            raise ConfigError(f"gpus={gpus}: only {len(settings.gpus)} are available for jobs; use fewer")
        return {
            "home": str(self.home),
            "python": settings.python,
            "cores": cores,
            "gpus": gpus,
            "total_cores": settings.cores,
            "total_gpus": list(settings.gpus),
            "stop_grace_seconds": settings.stop_grace_seconds,
            "max_log_bytes": settings.max_log_bytes,
            "preload": is_prepared(
                settings.preload, has_own_source=spec.source is not None, gpus=gpus, python=settings.python
            ),
        }

    def _start_supervisor(self, folder: JobFolder) -> None:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        if run_supervisor(SUPERVISOR, folder.path, folder.path / "supervisor.log", environment, cwd=folder.path):
            self._jobs.refresh(folder, folder.read(), grace_seconds=0.0)
