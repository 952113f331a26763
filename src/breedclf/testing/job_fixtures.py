"""The fixtures of `BackendCases`, which submit and watch jobs of short scripts."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from breedclf.errors import JobError
from breedclf.jobs import Backend, JobSpec
from breedclf.jobs.handle import Job


class JobFixtures:
    """Fixtures and helpers; a subclass defines the fixture `backend`."""

    runs_in_background: ClassVar[bool] = True
    timeout_seconds: ClassVar[float] = 60.0
    reason_has_last_line: ClassVar[bool] = True

    @pytest.fixture
    def backend(self) -> Backend:
        raise AssertionError("a subclass of BackendCases must define the fixture `backend`")

    @pytest.fixture
    def same_jobs(self, backend: Backend) -> Backend:
        """Another backend object for the same jobs, as another process would create it."""
        return backend

    @pytest.fixture
    def submit(self, backend: Backend, tmp_path: Path) -> Callable[..., Job]:
        """Submit a script as a job."""

        def submit(script: str, name: str = "job", **spec: Any) -> Job:
            job_spec = JobSpec(name=name, source=script_source(tmp_path / f"source-{name}", script), **spec)
            backend.submit(job_spec)
            return Job(name, backend)

        return submit

    def ended(self, job: Job) -> Job:
        """Wait until the job has ended, whatever its status."""
        return job.wait(timeout_seconds=self.timeout_seconds, check=False)

    def lines(self, job: Job) -> list[str]:
        """The output of the job's script; override it to remove what a backend's containers print in addition."""
        return list(job.logs())

    def when_training(self, backend: Backend, name: str, act: Callable[[], None]) -> threading.Thread:
        """Call `act` in another thread as soon as the job has printed that it is running."""

        def wait_and_act() -> None:
            deadline = time.monotonic() + self.timeout_seconds
            while time.monotonic() < deadline:
                try:
                    if "running" in backend.read_log(name)[0].splitlines():
                        act()
                        return
                except JobError:
                    pass
                time.sleep(0.02)

        thread = threading.Thread(target=wait_and_act, daemon=True)
        thread.start()
        return thread

    def need_background(self) -> None:
        """Skip the test for backends whose `submit` returns after the job has ended."""
        if not self.runs_in_background:
            pytest.skip("this backend runs a job to its end before submit returns")


def script_source(folder: Path, script: str) -> Path:
    """Create a source folder whose `train.py` is this script."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(textwrap.dedent(script), encoding="utf-8")
    return folder
