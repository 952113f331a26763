"""What `BackendCases` needs to submit and watch jobs of short scripts."""

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
    patience_seconds: ClassVar[float] = 60.0
    reason_has_last_words: ClassVar[bool] = True

    @pytest.fixture
    def backend(self) -> Backend:
        raise AssertionError("define the fixture `backend` in your subclass of BackendCases")

    @pytest.fixture
    def other_backend(self, backend: Backend) -> Backend:
        """Another object for the same jobs, as another process would create it."""
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
        """Wait for the job's end, whether it failed or not."""
        return job.wait(timeout_seconds=self.patience_seconds, check=False)

    def lines(self, job: Job) -> list[str]:
        """The output of the job's script; override it for a backend whose containers print more."""
        return list(job.logs())

    def when_training(self, backend: Backend, name: str, act: Callable[[], None]) -> threading.Thread:
        """Call `act` in another thread as soon as the job has printed that it is running."""

        def wait_and_act() -> None:
            until = time.monotonic() + self.patience_seconds
            while time.monotonic() < until:
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
        """Skip the test for backends whose `submit` returns after the job."""
        if not self.runs_in_background:
            pytest.skip("this backend runs a job to its end before submit returns")


def script_source(folder: Path, script: str) -> Path:
    """A source folder whose `train.py` is this script."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(textwrap.dedent(script), encoding="utf-8")
    return folder
