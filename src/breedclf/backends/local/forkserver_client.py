"""Starts jobs from the fork server of a home folder and interpreter, and starts that server if it isn't running."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from breedclf.backends.common.locks import is_locked
from breedclf.backends.local.child import Child, Command

IDLE_SECONDS = 300.0
_START_SECONDS = 120.0
_END_SECONDS = 10.0
_POLL_SECONDS = 0.02


class ForkserverError(Exception):
    """The fork server can't be started or reached; start the job without it."""


@dataclass(frozen=True)
class Address:
    """The socket and the lock of one home folder and interpreter, in a folder that only this user can enter."""

    socket: Path
    lock: Path

    @classmethod
    def of(cls, home: Path, python: str) -> Address:
        """The address for a home folder and an interpreter.

        Raises:
            ForkserverError: the folder belongs to another user, or other users can enter it.
        """
        folder = Path(tempfile.gettempdir()) / f"breedclf-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        stat = folder.lstat()
        if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
            raise ForkserverError(f"{folder} isn't private to this user")
        key = hashlib.sha256(f"{home}\0{python}".encode()).hexdigest()[:16]
        return cls(folder / f"{key}.sock", folder / f"{key}.lock")


class ForkedChild:
    """A job's first process, forked by the server, which sends its exit code over the connection."""

    def __init__(self, connection: socket.socket, pid: int, log: int) -> None:
        self.pid = pid
        self.log = log
        self._connection = connection
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        if self._exit_code is None:
            self._connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                message = self._connection.recv(64)
                self._exit_code = int(message) if message else -int(signal.SIGKILL)  # the server was killed
        return self._exit_code

    def close(self) -> None:
        os.close(self.log)
        self._connection.close()


def forked_child(home: Path, command: Command, *, idle_seconds: float = IDLE_SECONDS) -> Child:
    """Fork a job from the server, which is started if necessary and exits after `idle_seconds` without jobs.

    Raises:
        ForkserverError: the server can't be started or reached.
    """
    try:
        address = Address.of(home, command.python)
        connection = _connected(address, command.python, idle_seconds)
        read_end, write_end = os.pipe()
        try:
            _send(connection, command, write_end)
            pid = int(_read_line(connection))
        except (OSError, ValueError):
            os.close(read_end)
            connection.close()
            raise
        finally:
            os.close(write_end)
    except (OSError, ValueError) as error:
        raise ForkserverError(f"the fork server can't be used: {error!r}") from error
    return ForkedChild(connection, pid, read_end)


def end_forkserver(home: Path, python: str) -> None:
    """Ask the server to exit, and wait for it; it exits once its running jobs have ended."""
    with contextlib.suppress(OSError, ForkserverError):
        address = Address.of(home, python)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(address.socket))
            connection.sendall(b"0\n")
        until = time.monotonic() + _END_SECONDS
        while is_locked(address.lock) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)


def _connected(address: Address, python: str, idle_seconds: float) -> socket.socket:
    until = time.monotonic() + _START_SECONDS
    started: subprocess.Popen[bytes] | None = None
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(address.socket))
            return connection
        except OSError:
            connection.close()
        if started is None and not is_locked(address.lock):
            started = _start(address, python, idle_seconds)
        if started is not None and started.poll() not in (None, 0):
            raise ForkserverError(f"the fork server ended with exit code {started.returncode}")
        if time.monotonic() > until:
            raise ForkserverError(f"the fork server wasn't ready after {_START_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)


def _start(address: Address, python: str, idle_seconds: float) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).resolve().parents[3])
    arguments = [package, str(address.socket), str(address.lock), str(idle_seconds)]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from breedclf.backends.local import forkserver as f; f.main()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SM_"))}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [python, "-P", "-u", "-c", script, *arguments],
        cwd=address.socket.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _send(connection: socket.socket, command: Command, log: int) -> None:
    request = {
        "script": command.script,
        "arguments": list(command.arguments),
        "folder": str(command.folder),
        "environment": dict(command.environment),
    }
    payload = json.dumps(request).encode()
    socket.send_fds(connection, [f"{len(payload)}\n".encode()], [log, *command.inherited])
    connection.sendall(payload)


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise OSError("the connection ended")
        line += byte
    return line
