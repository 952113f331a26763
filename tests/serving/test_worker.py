"""Processes of an endpoint: those started by a worker end with it, and no child keeps a listening socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from breedclf.backends.local.endpoint_folder import EndpointFolder
from breedclf.backends.local.endpoint_supervisor import Worker
from breedclf.features.openvino import made_elsewhere
from breedclf.jobs.endpoints import DEFAULT_ENGINE
from tests.waiting import until

FORKS = """
import os, sys
from breedclf.serving.listening import listen
with listen("127.0.0.1", 0) as listener:
    place, inherited = listener.fileno(), listener.get_inheritable()
    child = os.fork()
    if not child:
        try:
            os.fstat(place)
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child holds the listener"
    assert listener.fileno() == place and not inherited
"""

ASKS_FOR_FILES = """
import sys
sys.path.insert(0, sys.argv[1])
from breedclf.features.openvino import made_elsewhere
made_elsewhere("waits", sys.argv[1])
"""

WAITS = """
import os, sys, time
from pathlib import Path
from breedclf.features.openvino import end_with_whoever_asked
end_with_whoever_asked()
Path(sys.argv[1], "started").write_text(str(os.getpid()))
time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 300)
print("done")
"""


@pytest.fixture
def worker(model: Path, tmp_path: Path) -> Iterator[Worker]:
    folder = EndpointFolder(tmp_path / "dogs")
    folder.path.mkdir()
    folder.copy_model(1, model)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = Worker(folder, 1, listener, DEFAULT_ENGINE, check=False)
        try:
            yield begun
        finally:
            begun.kill()
            for stream in (begun.process.stdin, begun.process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()


def stray_of(worker: Worker) -> subprocess.Popen[bytes]:
    """A process that a library in the worker could have left behind."""
    return subprocess.Popen(["sleep", "300"], process_group=worker.process.pid)


def test_a_killed_worker_takes_along_what_it_began(worker: Worker) -> None:
    with stray_of(worker) as stray:
        worker.kill()
        assert stray.wait(10) < 0


def test_a_worker_that_ended_takes_along_what_it_began(worker: Worker) -> None:
    with stray_of(worker) as stray:
        worker.ask_to_end()
        until(lambda: worker.has_ended)
        assert stray.wait(10) < 0


def test_a_forked_child_holds_no_listener() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_converter_ends_with_its_parent_process(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", ASKS_FOR_FILES, str(tmp_path)], env=environment) as asking:
        started = tmp_path / "started"
        until(lambda: started.exists() and started.read_text())
        maker = psutil.Process(int(started.read_text()))
        asking.kill()
    until(lambda: not maker.is_running() or maker.status() == psutil.STATUS_ZOMBIE)


def test_what_makes_files_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert made_elsewhere("waits", str(tmp_path), "0.5") == "done"
