"""`Container`: unpacks an uploaded model and serves it with its own code in a process of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import urllib3

from breedclf.backends.emulator.access.keys import RoleAccess
from breedclf.backends.emulator.container import serve
from breedclf.backends.emulator.s3.storage import Storage, location_of
from breedclf.errors import EndpointError
from breedclf.files.s3_uri import S3Location

_SCRIPT = Path(serve.__file__)
_PING_SECONDS, _PING_PAUSE_SECONDS = 2.0, 0.1
_END_SECONDS = 10.0
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "TORCH_HOME", "OMP_NUM_THREADS")
_MAX_MEMBERS = 20_000
NO_PING = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)


@dataclass(frozen=True)
class Reply:
    """A container's response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Container:
    """One process that serves one model, from `start` to `end`."""

    def __init__(
        self,
        folder: Path,
        definition: Mapping[str, Any],
        *,
        python: str,
        access: RoleAccess,
        variant: str = "AllTraffic",
        log_file: Path | None = None,
    ) -> None:
        self.folder = folder
        self.log_file: Path = log_file or folder / "log.txt"
        self._definition = definition
        self._python = python
        self._access = access
        self._token = secrets.token_urlsafe(32)  # keeps other users of this machine out
        self._variant = variant
        self._pool = urllib3.PoolManager(maxsize=16, retries=False)
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._lock = threading.Lock()

    def start(self, storage: Storage, *, seconds: float) -> None:
        """Download the model, start its code and wait until /ping answers.

        Raises:
            EndpointError: the model is missing, or the container doesn't pass its health check in time.
        """
        model = self.folder / "model"
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir(parents=True)
        _fetch_model(self._definition, storage, self.folder, model)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        kind = self._server_kind(model)
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"SAGEMAKER_BASE_DIR": str(self.folder), "PYTHONUNBUFFERED": "1", "BREEDCLF_HOST": "127.0.0.1"}
        environment |= self._access.environment()
        variables = self._definition.get("Environment", {})
        environment |= {name: value.replace("/opt/ml/", f"{self.folder}/") for name, value in variables.items()}
        environment["BREEDCLF_TOKEN"] = self._token
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-u", str(_SCRIPT), kind, str(model), str(port)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._url = f"http://127.0.0.1:{port}"
        self._await_ping(seconds)

    def invoke(self, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Reply:
        """Send a request to /invocations.

        Raises:
            EndpointError: there is no answer in time.
        """
        try:
            answer = self._pool.request(
                "POST",
                f"{self._url}/invocations",
                body=body,
                headers={**headers, "Authorization": f"Bearer {self._token}"},
                timeout=seconds,
            )
        except urllib3.exceptions.HTTPError as error:
            raise EndpointError(
                "Your invocation timed out while waiting for a response from container primary. Review the latency "
                f"metrics for each container in Amazon CloudWatch, resolve the issue, and try again. ({error})"
            ) from error
        return Reply(answer.status, answer.data, dict(answer.headers))

    def end(self) -> None:
        """End the process; kill it if it takes too long."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        self._access.revoke()
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, 9)
            process.wait()
        self._pool.clear()

    def _server_kind(self, model: Path) -> str:
        """What serves the model, which is also logged."""
        image = self._definition["Image"]
        note = f"image {image}"
        kind = "handlers"
        if re.search(r"/ray:serve", image):
            note += f": Ray itself isn't emulated; {_import_path(model)}, and the model's handlers answer"
        elif "pytorch-inference" not in image and (model / "code" / "breedclf").is_dir():
            kind = "package"
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(f"breedclf emulator: {note}\n")
        return kind

    def _await_ping(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            process = self._process
            if process is None or process.poll() is not None:
                break
            try:
                answer = self._pool.request("GET", f"{self._url}/ping", timeout=_PING_SECONDS)
            except urllib3.exceptions.HTTPError:
                answer = None
            if answer is not None and answer.status == 200 and _listens(process.pid, self._url):
                return
            time.sleep(_PING_PAUSE_SECONDS)
        self.end()
        raise EndpointError(NO_PING.format(variant=self._variant))


def _listens(pid: int, url: str) -> bool:
    """Whether this process or a child of it has the port, which another user's process may have taken."""
    port = int(url.rpartition(":")[2])
    try:
        parent = psutil.Process(pid)
        connections = [
            each for process in (parent, *parent.children(recursive=True)) for each in process.net_connections("tcp")
        ]
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def model_location(definition: Mapping[str, Any]) -> tuple[S3Location, bool]:
    """The location of the model's data, and whether it is an archive."""
    source = definition.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        return location_of(definition["ModelDataUrl"]), True
    return location_of(source["S3Uri"]), source.get("CompressionType", "None") == "Gzip"


def _fetch_model(definition: Mapping[str, Any], storage: Storage, folder: Path, model: Path) -> None:
    location, packed = model_location(definition)
    if not packed:
        storage.download(location, model)
        return
    archive = folder / "model.tar.gz"
    try:
        archive.write_bytes(storage.read(location))
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            if len(members) > _MAX_MEMBERS:
                raise EndpointError(f"The model data archive {location} has {len(members)} members.")
            tar.extractall(model, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise EndpointError(f"The model data archive at {location} can't be extracted: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def _import_path(model: Path) -> str:
    """A sentence about what a Ray Serve image would start, from its config.yaml."""
    for file in (model / "config.yaml", model / "code" / "config.yaml"):
        if file.is_file():
            found = re.search(r"import_path:\s*(\S+)", file.read_text(encoding="utf-8"))
            return f"it would start {found[1]} of {file.name}" if found else f"{file.name} names no import_path"
    raise EndpointError("The Ray Serve image found no config.yaml in the model's data.")
