"""The console as a process: how it ends, where its token is not, what opens the browser, and who may connect."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from breedclf.backends.local.backend import LocalBackend
from breedclf.jobs import JobSpec, JobStatus
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source
from tests.console.running import TOKEN, add_job, running_console
from tests.waiting import PATIENCE_SECONDS


@dataclass
class Started:
    """A console's process, its URL and token, and what it wrote."""

    process: subprocess.Popen[str]
    url: str
    token: str
    errors: Path

    def client(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def started_console(folder: Path, *flags: str, **environment: str) -> Iterator[Started]:
    command = [sys.executable, "-m", "breedclf", "console", "--home", str(folder / "home"), *flags]
    errors = folder / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, cwd=folder, env=os.environ | environment
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("console: "), (line, errors.read_text())
        url, _, token = line.removeprefix("console: ").strip().partition("/?token=")
        yield Started(process, url, token, errors)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def arguments_of_all_processes() -> str:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += process.cmdline()
    return "\n".join(found)


def test_the_token_is_in_no_arguments_and_no_log_and_a_browser_gets_it_from_a_private_file(tmp_path: Path) -> None:
    add_job(tmp_path, "dogs")
    asked, program = tmp_path / "asked.txt", tmp_path / "browser.sh"
    program.write_text(f'#!/bin/sh\necho "$@" > {asked}.new && mv {asked}.new {asked}\nsleep 60\n')
    program.chmod(0o755)
    with started_console(tmp_path, DISPLAY=":0", BROWSER=f"{program} %s", TMPDIR=str(tmp_path)) as started:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not asked.exists():
            assert time.monotonic() < deadline, started.errors.read_text()
            time.sleep(0.05)
        page = Path(asked.read_text().strip().removeprefix("file://"))
        assert f'url={started.url}/?token={started.token}"' in page.read_text()
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
        assert started.token not in arguments_of_all_processes()
        with started.client() as client, client.stream("GET", "/events", params={"target": "/jobs"}) as events:
            assert "event: fragments" in next(line for line in events.iter_lines() if "event" in line)
            client.get(f"/jobs/nothing?token={started.token}", follow_redirects=True)
            client.post("/api/actions/nothing", json={})
            began = time.monotonic()
            assert started.end(signal.SIGTERM) in (0, 130)
            assert time.monotonic() - began < PATIENCE_SECONDS
        assert not page.exists()
        assert started.token not in started.errors.read_text()
        assert "Traceback" not in started.errors.read_text()


def test_killing_the_console_leaves_a_job_alone_and_a_killed_job_is_shown(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "home", gpus=())
    source = script_source(tmp_path / "source", "import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    backend.submit(JobSpec("dogs", source=source))
    try:
        with started_console(tmp_path, "--no-browser") as started, started.client() as client:
            assert client.get("/api/jobs").json()[0]["status"] == "InProgress"
            started.process.kill()
            started.process.wait()
        assert backend.describe("dogs").status == JobStatus.IN_PROGRESS
        with running_console(tmp_path) as running, running.client() as client:
            with client.stream("GET", "/events", params={"target": "/jobs/dogs"}) as events:
                state = json.loads((tmp_path / "home" / "jobs" / "dogs" / "job.json").read_text())
                os.kill(state["supervisor"]["pid"], signal.SIGKILL)
                assert any("supervisor lost" in line for line in events.iter_lines() if line.startswith("data: "))
            assert client.get("/api/jobs").json()[0]["status"] == "Failed"
    finally:
        with contextlib.suppress(Exception):
            backend.stop("dogs")
            Job("dogs", backend).wait(timeout=PATIENCE_SECONDS, check=False)


@pytest.mark.parametrize("port", ["70000", "-1", "taken"])
def test_a_port_that_cannot_be_used_is_named(tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    from breedclf.cli import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1]) if port == "taken" else port
        assert main(["console", "--no-browser", "--home", str(tmp_path), f"--port={number}"]) == 2
    assert number in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0 or sys.platform != "linux", reason="only root can be another user")
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_another_user_with_the_token_is_refused(tmp_path: Path, family: str) -> None:
    script = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "host = {'AF_INET': '127.0.0.1', 'AF_INET6': '::ffff:127.0.0.1'}[sys.argv[1]]\n"
        "connection = socket.socket(getattr(socket, sys.argv[1]))\n"
        "connection.connect((host, int(sys.argv[2])))\n"
        "connection.sendall(sys.argv[3].encode())\n"
        "print(connection.recv(100).decode().split()[1])\n"
    )
    with running_console(tmp_path) as running:
        port = str(running.console.port)
        head = f"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        command = [sys.executable, "-I", "-c", script, family, port, head]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.stdout.strip() == "403", done.stderr
