"""Overhead of local jobs, started cold and from the preloaded process, and of listing 1,000 jobs."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import arguments, at_most, report
from breedclf.backends.common.folder import create_job_folder
from breedclf.backends.local.backend import LocalBackend
from breedclf.cli import main as command_line
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source

LISTED = 1_000
SCRIPT = """
    import time
    started = time.perf_counter()
    import torch, torchvision
    print(time.perf_counter() - started)
    from breedclf.runtime.quick_exit import leave
    leave(0)
"""


def overhead(backend: LocalBackend, source: Path, name: str) -> dict[str, float]:
    """Seconds from submit to the end of wait, minus the job's imports."""
    started = time.perf_counter()
    backend.submit(JobSpec(name, source=source))
    job = Job(name, backend).wait(timeout=300)
    total = time.perf_counter() - started
    imports = float(next(job.logs()))
    return {"total": total, "imports": imports, "overhead": total - imports}


def thousand_jobs(home: Path) -> None:
    """Create folders of finished jobs."""
    for number in range(LISTED):
        folder = create_job_folder(home, JobSpec(f"job-{number}"), backend="local", options={}, now=time.time())
        state = folder.read()
        description = state.description.entered(
            SecondaryStatus.COMPLETED, time.time(), status=JobStatus.COMPLETED, ended=time.time()
        )
        folder.write(replace(state, description=description))


def list_seconds(home: Path) -> dict[str, float]:
    """Seconds of the command as a process, and without Python's startup."""
    environment = {**os.environ, "BREEDCLF_HOME": str(home)}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "breedclf", "jobs", "list"], env=environment, check=True, capture_output=True)
    whole = time.perf_counter() - started
    os.environ["BREEDCLF_HOME"] = str(home)
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        command_line(["jobs", "list"])
        inside = time.perf_counter() - started
    return {"command": whole, "inside": inside}


def main() -> int:
    given = arguments(__doc__, needs_data=False)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        source = script_source(home / "source", SCRIPT)
        cold = LocalBackend(home / "home", gpus=(), preload=False)
        warm = LocalBackend(home / "home", gpus=(), preload=True)
        try:
            overhead(warm, source, "first")  # starts the preloaded process
            found = [
                (overhead(cold, source, f"cold-{n}"), overhead(warm, source, f"warm-{n}")) for n in range(given.repeats)
            ]
        finally:
            warm.close()
        thousand_jobs(home / "many")
        listed = [list_seconds(home / "many") for _ in range(given.repeats)]
    goals = [
        at_most(
            "cold: seconds beyond the job's imports, median",
            statistics.median(each["overhead"] for each, _ in found),
            1.5,
        ),
        at_most("preloaded: total seconds, median", statistics.median(each["total"] for _, each in found), 0.5),
        at_most(
            f"`jobs list` of {LISTED} jobs, seconds, median", statistics.median(each["command"] for each in listed), 0.5
        ),
    ]
    details = {"cold": [each for each, _ in found], "preloaded": [each for _, each in found], "list": listed}
    return report("jobs", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
