"""A process that has torch imported and forks jobs, so that only the first of them pays for the import.

It has no thread and has computed nothing when it forks, so a forked job computes what a fresh one would: its threads
are set after the fork, CUDA is first touched in the job, and the breedclf that runs is the one of the job's bundle.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from breedclf.backends.common.locks import is_locked, try_lock
from breedclf.backends.local.child import Child, Command
from breedclf.runtime.quick_exit import leave

IDLE_SECONDS = 300.0
_START_SECONDS = 120.0
_TICK_SECONDS = 0.02
_PRELOADED = (
    "numpy",
    "PIL.Image",
    "filelock",
    "psutil",
    "pydantic",
    "safetensors.torch",
    "tqdm",
    "torch",
    "torchvision",
    "torchvision.transforms.v2",
)
_MAX_DESCRIPTORS = 250


class ForkserverError(Exception):
    """The process can't be started or reached; the job is started the ordinary way."""


@dataclass(frozen=True)
class Address:
    """Where the process of one home folder and interpreter listens; only this user can get there."""

    socket: Path
    lock: Path

    @classmethod
    def of(cls, home: Path, python: str) -> Address:
        folder = Path(tempfile.gettempdir()) / f"breedclf-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        if about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise ForkserverError(f"{folder} isn't private to this user")
        key = hashlib.sha256(f"{home}\0{python}".encode()).hexdigest()[:16]
        return cls(folder / f"{key}.sock", folder / f"{key}.lock")


class ForkedChild:
    """A job's first process, forked by the server; its exit code comes through the connection."""

    def __init__(self, connection: socket.socket, pid: int, log: int) -> None:
        self.pid = pid
        self.log = log
        self._connection = connection
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        if self._exit_code is None:
            self._connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answer = self._connection.recv(64)
                self._exit_code = int(answer) if answer else -int(signal.SIGKILL)  # the server was killed, and so it
        return self._exit_code

    def close(self) -> None:
        os.close(self.log)
        self._connection.close()


def forked_child(home: Path, command: Command, *, idle_seconds: float = IDLE_SECONDS) -> Child:
    """Start a job from the preloaded process, which is started first if need be.

    Raises:
        ForkserverError: that doesn't work.
    """
    try:
        address = Address.of(home, command.python)
        connection = _connected(address, command.python, idle_seconds)
        read_end, write_end = os.pipe()
        try:
            _send(connection, command, write_end)
            pid = int(_line(connection))
        except (OSError, ValueError):
            os.close(read_end)
            connection.close()
            raise
        finally:
            os.close(write_end)
    except (OSError, ValueError) as error:
        raise ForkserverError(f"the preloaded process can't be used: {error!r}") from error
    return ForkedChild(connection, pid, read_end)


def end_forkserver(home: Path, python: str) -> None:
    """Ask the process to exit, and wait for it; running jobs of it go on until they end."""
    with contextlib.suppress(OSError, ForkserverError):
        address = Address.of(home, python)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(address.socket))
            connection.sendall(b"0\n")
        until = time.monotonic() + 10
        while is_locked(address.lock) and time.monotonic() < until:
            time.sleep(_TICK_SECONDS)


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
            raise ForkserverError(f"the preloaded process ended with exit code {started.returncode}")
        if time.monotonic() > until:
            raise ForkserverError(f"the preloaded process wasn't ready after {_START_SECONDS:g} seconds")
        time.sleep(_TICK_SECONDS)


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


def _line(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise OSError("the connection ended")
        found += byte
    return found


class _Server:
    """Accepts requests, forks, and tells who asked how it ended; a job dies with the supervisor that asked for it."""

    def __init__(self, listener: socket.socket, lock: int, idle_seconds: float) -> None:
        self._listener = listener
        self._lock = lock
        self._idle_seconds = idle_seconds
        self._asker_of: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._leaving = False

    def serve(self) -> None:
        last = time.monotonic()
        while self._asker_of or (not self._leaving and time.monotonic() - last < self._idle_seconds):
            for key, _ in self._selector.select(_TICK_SECONDS if self._asker_of else 1.0):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._lose(key.data)
            self._reap()
            if self._asker_of:
                last = time.monotonic()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            connection.settimeout(10)
            header, descriptors, _, _ = socket.recv_fds(connection, 16, _MAX_DESCRIPTORS)
            length, _, begin = header.partition(b"\n")
            if length == b"0":
                self._leaving = True
                connection.close()
                return
            payload = begin
            while len(payload) < int(length):
                part = connection.recv(1 << 16)
                if not part:
                    raise OSError("the request was cut short")
                payload += part
        except (OSError, ValueError):
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become_job(json.loads(payload), descriptors, connection)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
        self._asker_of[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)

    def _lose(self, pid: int) -> None:
        """Who asked is gone, or speaks out of turn: its job must not go on alone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._selector.unregister(self._asker_of[pid])

    def _reap(self) -> None:
        for pid in list(self._asker_of):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                connection = self._asker_of.pop(pid)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                connection.close()

    def _become_job(self, request: dict[str, Any], descriptors: list[int], connection: socket.socket) -> NoReturn:
        """In the fork: everything of the server goes, everything of the job comes."""
        os.setsid()
        for owned in (connection, self._listener, *self._asker_of.values()):
            owned.close()
        self._selector.close()
        os.close(self._lock)
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[0], 2)
        os.close(descriptors[0])
        for name, descriptor in (("stdout", 1), ("stderr", 2)):  # what the server wrote to may have been another kind
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False, buffering=1))  # noqa: SIM115
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        script = request["script"]
        sys.argv = [script, *request["arguments"]]
        sys.path[0] = str(Path(script).resolve().parent)
        for name in [name for name in sys.modules if name.partition(".")[0] == "breedclf"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        _fresh_numerics()
        raise _JobCode(script)


class _JobCode(BaseException):
    """Leaves the server's frames in the fork, so that the job starts on a clean stack."""

    def __init__(self, script: str) -> None:
        super().__init__(script)
        self.script = script


def main() -> None:
    """Be the server: import, listen, fork, and end when nobody has asked for a while."""
    _, _, address, lock_file, idle_seconds = [sys.argv[0], *sys.argv[1:]]
    lock = try_lock(Path(lock_file))
    if lock is None:
        return  # another one was faster
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page that holds an object
    Path(address).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    script = None
    try:
        _Server(listener, lock, float(idle_seconds)).serve()
    except _JobCode as job:
        script = job.script
    if script is None:
        Path(address).unlink(missing_ok=True)
        return
    leave(_run_script(script))


def _run_script(script: str) -> int:
    """Run it as the interpreter would, and return its exit code."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - the end of a script, whatever it is
        traceback.print_exc()
        return 1
    return 0


def _fresh_numerics() -> None:
    """What numeric libraries take from the environment or draw when they are imported, as a fresh job would have it."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
