"""Which jobs are forked from a process with torch, from which one, and when it isn't used any more."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from breedclf.backends.common.folder import job_folder
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.local.forkserver_client import Address, is_prepared
from breedclf.jobs import JobSpec, JobStatus
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked on Linux alone")

SCRIPT = """
    import os, signal, sys
    import tqdm
    mask = os.umask(0o77)
    print(tqdm.VALUE, os.getppid(), os.environ["WORD"], f"{mask:o}", signal.getsignal(signal.SIGPIPE).name, end="")
    if os.environ["WORD"] == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
"""


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """Small modules in place of torch and those that need it, so that the server starts at once."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    (folder / "torch.py").write_text("set_num_threads = lambda _: None\n")
    for name in ("torchvision", "safetensors", "pydantic", "jinja2"):
        (folder / f"{name}.py").write_text("")
    (folder / "tqdm.py").write_text("VALUE = 'old'\n")
    return folder


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    """A backend whose servers no other test ends."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        backend = LocalBackend(tmp_path / "home", gpus=(), preload=True)
        yield backend
        backend.close()


@pytest.mark.parametrize(
    ("preload", "has_own_source", "gpus", "python", "expected"),
    [
        pytest.param(None, False, 0, sys.executable, True, id="default"),
        pytest.param(None, True, 0, sys.executable, False, id="own-source"),
        pytest.param(None, False, 1, sys.executable, False, id="gpu"),
        pytest.param(None, False, 0, "/other/python", False, id="other-interpreter"),
        pytest.param(True, True, 1, "/other/python", True, id="on"),
        pytest.param(False, False, 0, sys.executable, False, id="off"),
    ],
)
def test_jobs_are_forked_where_that_is_safe(
    preload: bool | None, has_own_source: bool, gpus: int, python: str, expected: bool
) -> None:
    assert is_prepared(preload, has_own_source=has_own_source, gpus=gpus, python=python) is expected


@pytest.mark.parametrize(
    ("environment", "is_same"),
    [
        pytest.param({"TRAINING_JOB_NAME": "job", "SM_HPS": "{}", "OMP_NUM_THREADS": "2"}, True, id="set-per-job"),
        pytest.param({"ATEN_CPU_CAPABILITY": "default"}, False, id="read-by-torch"),
        pytest.param({"LD_PRELOAD": "lib.so"}, False, id="read-by-the-loader"),
        pytest.param({"PYTHONPATH": "/modules"}, False, id="read-by-python"),
    ],
)
def test_jobs_share_a_server_if_libraries_load_alike(environment: Mapping[str, str], is_same: bool) -> None:
    assert (Address.of("python", environment) == Address.of("python", {})) is is_same


def test_a_process_with_another_umask_has_another_server() -> None:
    usual = Address.of("python", {})
    before = os.umask(0o27)
    try:
        assert Address.of("python", {}) != usual
    finally:
        os.umask(before)
    assert Address.of("python", {}) == usual


def test_a_changed_library_and_a_killed_server_lead_to_another_server(
    backend: LocalBackend, libraries: Path, tmp_path: Path
) -> None:
    source = script_source(tmp_path / "source", SCRIPT)
    umask = os.umask(0)
    os.umask(umask)

    def words(name: str, word: str, status: JobStatus = JobStatus.COMPLETED) -> list[str]:
        environment = {"PYTHONPATH": str(libraries), "WORD": word}
        backend.submit(JobSpec(name, source=source, environment=environment))
        job = Job(name, backend).wait(timeout_seconds=60, check=False)
        assert job.status is status
        assert (job_folder(backend.home, name).path / "supervisor.log").read_text() == "", "it was forked"
        return "".join(job.logs()).split()

    first = words("first", "a")
    assert first == ["old", first[1], "a", f"{umask:o}", "SIG_IGN"]
    assert words("again", "b")[:3] == ["old", first[1], "b"]
    (libraries / "tqdm.py").write_text("VALUE = 'newer'\n")
    changed = words("changed", "a")
    assert changed[0] == "newer"
    assert changed[1] != first[1]
    assert words("killer", "kill", JobStatus.FAILED)[1] == changed[1]
    assert words("after", "a")[1] not in (first[1], changed[1])


def test_without_room_for_a_socket_a_job_starts_the_ordinary_way(backend: LocalBackend, tmp_path: Path) -> None:
    source = script_source(tmp_path / "source", "import os; print(os.getppid())")
    temporary = tmp_path / ("long" * 30)
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        backend.submit(JobSpec("job", source=source))
    job = Job("job", backend).wait(timeout_seconds=60)
    supervisor = job_folder(backend.home, "job").read().supervisor
    assert supervisor is not None
    assert "".join(job.logs()).strip() == str(supervisor["pid"])
    assert "too long for a socket" in (job_folder(backend.home, "job").path / "supervisor.log").read_text()
