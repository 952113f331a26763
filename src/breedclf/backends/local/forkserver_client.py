"""Starts jobs from a fork server, and starts that server if it isn't running."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from breedclf.backends.common.locks import is_locked
from breedclf.backends.local.child import Child, Command

IDLE_SECONDS = 120.0
_START_SECONDS = 120.0
_END_SECONDS = 10.0
_POLL_SECONDS = 0.02
_MAX_SOCKET_BYTES = 107
_PACKAGE = str(Path(__file__).resolve().parents[3])
_READ_WHEN_LOADED = {"HOME", "LANG", "LANGUAGE", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "VIRTUAL_ENV"}
_READ_WHEN_LOADED_PREFIXES = (
    *(
        "ATEN_",
        "DNNL_",
        "GLIBC_",
        "GOMP_",
        "KMP_",
        "LC_",
        "LD_",
        "MALLOC_",
        "MKL_",
        "NPY_",
        "NUMPY_",
        "OMP_",
        "ONEDNN_",
    ),
    *("OPENBLAS_", "PILLOW_", "PYDANTIC_", "PYTHON", "PYTORCH_", "TORCH", "TQDM_"),
)
_SET_PER_JOB = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONUNBUFFERED"}
_INHERITED_STATUS = ("Umask:", "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:", "Mems_all")


class ForkserverError(Exception):
    """The fork server can't be started or reached; start the job without it."""


@dataclass(frozen=True)
class Address:
    """The socket and the lock of a server, in a folder that only this user can enter."""

    socket: Path
    lock: Path

    @classmethod
    def of(cls, python: str, environment: Mapping[str, str]) -> Self:
        """The address of the server for an interpreter and a job's environment, seen from this process.

        Raises:
            ForkserverError: the folder belongs to another user, or other users can enter it; or a socket's name would
                be too long there.
            OSError: there is no folder for temporary files.
        """
        unlike = [_PACKAGE, sorted(server_environment(environment).items()), inherited_by_children()]
        key = hashlib.sha256(json.dumps(unlike).encode()).hexdigest()[:16]
        address = _private_folder() / f"{_prefix(python)}{key}.sock"
        if len(os.fsencode(address)) > _MAX_SOCKET_BYTES:
            raise ForkserverError(f"{address} is too long for a socket; set TMPDIR to a shorter path")
        return cls(address, address.with_suffix(".lock"))


def is_prepared(preload: bool | None, *, has_own_source: bool, gpus: int, python: str) -> bool:
    """Whether a job is forked from a server, for the `preload` that the user has chosen (None: where it is safe).

    Safe are breedclf's own jobs without a GPU, on Linux, with this interpreter.
    """
    if sys.platform != "linux" or preload is False:
        return False
    return bool(preload) or (not has_own_source and gpus == 0 and python == sys.executable)


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a job that Python or a library may read when it is loaded."""
    return {
        name: value
        for name, value in environment.items()
        if (name in _READ_WHEN_LOADED or name.startswith(_READ_WHEN_LOADED_PREFIXES)) and name not in _SET_PER_JOB
    }


def inherited_by_children() -> list[str]:
    """What a process started here inherits besides its environment: its limits, groups, cores, umask and namespaces."""
    process = Path("/proc/self")
    try:
        lines = (process / "status").read_text().splitlines()
        status = [line for line in lines if line.startswith(_INHERITED_STATUS)]
        spaces = [os.readlink(each) for each in sorted((process / "ns").iterdir())]  # noqa: PTH115
        texts = [(process / name).read_text() for name in ("limits", "cgroup", "oom_score_adj")]
        return [*status, *spaces, *texts, str(os.nice(0))]
    except OSError as error:
        raise ForkserverError(f"this process can't be compared with others: {error}") from error


def _private_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"breedclf-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    stat = folder.lstat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        raise ForkserverError(f"{folder} isn't private to this user")
    return folder


def _prefix(python: str) -> str:
    return hashlib.sha256(python.encode()).hexdigest()[:8] + "-"


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


def forked_child(command: Command, *, idle_seconds: float = IDLE_SECONDS) -> Child:
    """Fork a job from the server, which is started if necessary and exits after `idle_seconds` without jobs.

    Raises:
        ForkserverError: the server can't be started or reached.
    """
    try:
        address = Address.of(command.python, command.environment)
        try:
            return _forked(address, command, idle_seconds)
        except OSError:  # it retired just now, since it was idle or a package has changed
            return _forked(address, command, idle_seconds)
    except (OSError, ValueError) as error:
        raise ForkserverError(f"the fork server can't be used: {error!r}") from error


def end_forkservers(python: str) -> None:
    """Ask this user's servers of an interpreter to exit, and wait for it; their running jobs continue."""
    with contextlib.suppress(OSError, ForkserverError):
        for path in _private_folder().glob(f"{_prefix(python)}*.sock"):
            _end(Address(path, path.with_suffix(".lock")))


def _end(address: Address) -> None:
    with contextlib.suppress(OSError):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(address.socket))
            connection.sendall(b"0\n")
        until = time.monotonic() + _END_SECONDS
        while address.socket.exists() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)


def _forked(address: Address, command: Command, idle_seconds: float) -> Child:
    connection = _connected(address, command, idle_seconds)
    read_end, write_end = os.pipe()
    try:
        _send(connection, command, write_end)
        pid = int(_read_line(connection))
    except BaseException:
        os.close(read_end)
        connection.close()
        raise
    finally:
        os.close(write_end)
    return ForkedChild(connection, pid, read_end)


def _connected(address: Address, command: Command, idle_seconds: float) -> socket.socket:
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
            started = _start(address, command, idle_seconds)
        if started is not None and started.poll() not in (None, 0):
            raise ForkserverError(f"the fork server ended with exit code {started.returncode}")
        if time.monotonic() > until:
            raise ForkserverError(f"the fork server wasn't ready after {_START_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)


def _start(address: Address, command: Command, idle_seconds: float) -> subprocess.Popen[bytes]:
    arguments = [_PACKAGE, str(address.socket), str(address.lock), str(idle_seconds)]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from breedclf.backends.local import forkserver as f; f.main()"
    )
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [command.python, "-P", "-u", "-c", script, *arguments],
        cwd=address.socket.parent,
        env={**server_environment(command.environment), **one_thread},
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
