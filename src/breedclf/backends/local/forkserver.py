"""A process that has imported torch and forks jobs, so that only the first job pays for the import.

It has no threads and has computed nothing when it forks, so a forked job computes what a fresh process would: thread
counts are set after the fork, CUDA is initialized in the job, and breedclf is imported from the job's own bundle. It
retires as soon as a file that it has imported changes.

`multiprocessing`'s fork server can't be used: it exits with the process that started it, and listens on an address that
only that process and its children know. Every job has its own supervisor process, so that server would fork one job and
exit. This one is shared by all supervisors that would start equal processes, and outlives each of them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from breedclf.backends.common.locks import try_lock
from breedclf.backends.local.child import kill_with_parent
from breedclf.files.file_stat import FileStat
from breedclf.runtime.quick_exit import leave

_POLL_SECONDS = 0.02
_PRELOADED = (
    "numpy",
    "numpy.ctypeslib",
    "numpy.ma",
    "numpy.typing",
    "PIL.Image",
    "PIL.ImageCms",
    "PIL.ImageOps",
    "PIL.ImageSequence",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "filelock",
    "jinja2",
    "platformdirs",
    "psutil",
    "pydantic",
    "pydantic.functional_validators",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.type_adapter",
    "safetensors.torch",
    "sqlite3",
    "tomllib",
    "tqdm",
    "yaml",
    "torch",
    "torch.utils.flop_counter",
    "torch.utils.serialization",
    "torchvision",
    "torchvision.transforms.v2",
)
_MAX_DESCRIPTORS = 250


class _Server:
    """Forks a job per request and sends its exit code; a job is killed when the supervisor that requested it exits."""

    def __init__(self, listener: socket.socket, files: Sequence[Path], lock: int, idle_seconds: float) -> None:
        self._listener = listener
        self._files = files
        self._lock = lock
        self._idle_seconds = idle_seconds
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._is_retired = False
        self._imported = _file_stats()
        self._kill_with_server = kill_with_parent()

    def serve(self) -> None:
        last = time.monotonic()
        while self._clients or (not self._is_retired and time.monotonic() - last < self._idle_seconds):
            for key, _ in self._selector.select(_POLL_SECONDS if self._clients else 1.0):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._kill(key.data)
            self._reap()
            if self._clients:
                last = time.monotonic()
        self._retire()

    def _retire(self) -> None:
        """Make room for another server; running jobs are still waited for."""
        if self._is_retired:
            return
        self._is_retired = True
        self._selector.unregister(self._listener)
        self._listener.close()
        for file in self._files:
            file.unlink(missing_ok=True)
        os.close(self._lock)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            connection.settimeout(10)
            header, descriptors, _, _ = socket.recv_fds(connection, 16, _MAX_DESCRIPTORS)
            length, _, payload = header.partition(b"\n")
            if length == b"0" or _file_stats() != self._imported:
                self._retire()  # first, so that the client finds another server, or starts one
                for descriptor in descriptors:
                    os.close(descriptor)
                connection.close()
                return
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
        self._clients[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)

    def _kill(self, pid: int) -> None:
        """Kill a job whose client is gone, or has sent something unexpected."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._selector.unregister(self._clients[pid])

    def _reap(self) -> None:
        for pid in list(self._clients):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                connection = self._clients.pop(pid)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                connection.close()

    def _become_job(self, request: dict[str, Any], descriptors: list[int], connection: socket.socket) -> NoReturn:
        """In the fork: release the server's resources, take on the job's, and run its script."""
        os.setsid()
        if self._kill_with_server is not None:
            self._kill_with_server()
        for server_socket in (connection, self._listener, *self._clients.values()):
            server_socket.close()
        self._selector.close()
        os.close(self._lock)
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[0], 2)
        os.close(descriptors[0])
        for name, descriptor, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
            raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115
            setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        script = request["script"]
        sys.argv = [script, *request["arguments"]]
        sys.path[0] = str(Path(script).resolve().parent)
        for name in [name for name in sys.modules if name.partition(".")[0] == "breedclf"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        _reset_numerics()
        raise _JobCode(script)


class _JobCode(BaseException):
    """Unwinds the server's frames in the fork, so that the job starts on an empty stack."""

    def __init__(self, script: str) -> None:
        super().__init__(script)
        self.script = script


def main() -> None:
    """Run the server: import, listen, fork; exit after some time without jobs."""
    _, _, address, lock_file, idle_seconds = [sys.argv[0], *sys.argv[1:]]
    lock = try_lock(Path(lock_file))
    if lock is None:
        return  # another server is running
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _PRELOADED:
        with contextlib.suppress(Exception):  # the job reports what it can't import
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page with objects
    path = Path(address)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    script = None
    try:
        _Server(listener, (path, Path(lock_file)), lock, float(idle_seconds)).serve()
    except _JobCode as job:
        script = job.script
    if script is None:
        return
    leave(_run_script(script))


def _run_script(script: str) -> int:
    """Run the script as the interpreter would, and return its exit code."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - the interpreter prints any exception
        traceback.print_exc()
        return 1
    return 0


def _file_stats() -> dict[str, object]:
    """The file stats of the interpreter, of all imported modules, and of the folders that modules are found in."""
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    return {path: FileStat.at(path) for path in {os.path.realpath(sys.executable), *files, *sys.path}}


def _reset_numerics() -> None:
    """Redo what numeric libraries read from the environment or draw at random when they are imported."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
