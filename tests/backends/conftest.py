"""Interpreters without breedclf, and a look at what is left of jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.local.processes import MARK
from breedclf.job_handle import Job
from breedclf.jobs import JobSpec
from breedclf.testing.backend_cases import script_source

PATIENCE_SECONDS = 90.0


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with our dependencies and without breedclf."""
    return without_breedclf(tmp_path_factory.mktemp("bare"))


def without_breedclf(folder: Path) -> Path:
    """A virtual environment that sees this one's packages, but not what this one installed in editable form."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    # A line of a .pth file adds a folder, but doesn't read the .pth files in it, which is what an editable install is.
    Path(own, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    found = subprocess.run([python, "-c", "import breedclf"], capture_output=True, text=True, check=False, timeout=60)
    if found.returncode == 0:
        pytest.skip("breedclf is installed as a copy, so no interpreter here is without it; install it with -e")
    assert "No module named 'breedclf'" in found.stderr
    return python


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """One core, short grace; whatever a test leaves running is stopped."""
    backend = LocalBackend(tmp_path / "home", cores=1, gpus=(), stop_grace_seconds=1)
    yield backend
    for description in backend.list_jobs():
        backend.stop(description.name)
    for description in backend.list_jobs():
        Job(description.name, backend).wait(timeout=PATIENCE_SECONDS, check=False)


@pytest.fixture
def submit(backend: LocalBackend, tmp_path: Path) -> Callable[..., Job]:
    def submit(script: str, name: str = "job", **spec: object) -> Job:
        source = script_source(tmp_path / f"source-{name}", script)
        backend.submit(JobSpec(name=name, source=source, **spec))  # type: ignore[arg-type]
        return Job(name, backend)

    return submit


def processes_of(home: Path) -> list[psutil.Process]:
    """Living processes of any job below the home folder, and their supervisors."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            marked = process.environ().get(MARK, "").startswith(str(home))
            if marked or any(word.startswith(f"{home}{os.sep}") for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't become true in time"
        time.sleep(0.02)
