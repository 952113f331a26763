"""Starts and stops the emulator: the control plane on a loopback port, with moto's S3 unless another is given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from breedclf.backends.emulator.access.keys import Credentials, shell_lines, write_private
from breedclf.backends.emulator.app import create_app
from breedclf.backends.emulator.control_plane import ControlPlane, Options
from breedclf.backends.emulator.protocol import DEFAULT_REGION
from breedclf.backends.emulator.s3.objects import MotoObjects, RemoteObjects
from breedclf.backends.local.backend import LocalBackend
from breedclf.errors import ConfigError, EndpointError
from breedclf.serving.uvicorn_config import quiet_config

HOST = "127.0.0.1"
ENVIRONMENT_FILE = "environment.sh"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator: its URL, key pair, environment file and control plane."""

    url: str
    credentials: Credentials
    environment_file: Path
    plane: ControlPlane

    @property
    def environment(self) -> dict[str, str]:
        """The variables that AWS's SDKs and command line need to use the emulator."""
        return self.credentials.environment(self.url, DEFAULT_REGION)

    def session(self) -> Any:
        """A `boto3.Session` with the emulator's keys; its clients need `endpoint_url=url`, or the environment."""
        import boto3

        return boto3.Session(self.credentials.access_key, self.credentials.secret_key, region_name=DEFAULT_REGION)


@contextlib.contextmanager
def emulator(
    local: LocalBackend, *, port: int = 0, s3_endpoint: str | None = None, end_jobs: bool = False
) -> Iterator[Emulator]:
    """Run an emulator in threads of this process until the end of the block.

    It accepts only requests signed with its own key pair.

    Args:
        local: the backend that runs the jobs; its home also holds the emulator's state, its interpreter runs images.
        port: the port to listen on, 0 for any.
        s3_endpoint: the URL of an S3 service, called with the credentials of this process; moto in memory if not given.
        end_jobs: stop training and tuning jobs at the end; otherwise they continue, and the next emulator finds them.

    Raises:
        ConfigError: the port is taken.
        MissingExtraError: botocore or moto isn't installed.
    """
    objects = RemoteObjects(s3_endpoint, DEFAULT_REGION) if s3_endpoint else MotoObjects()
    credentials = Credentials.new()
    with _listen(port) as listener:
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        plane = ControlPlane(Options(local, objects, credentials), url)
        running = Emulator(url, credentials, plane.store.root / ENVIRONMENT_FILE, plane)
        server = uvicorn.Server(quiet_config(create_app(plane, objects), grace_seconds=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="emulator", daemon=True)
        thread.start()
        try:
            _await_start(server, thread)
            plane.start()
            write_private(running.environment_file, shell_lines(running.environment) + "\n")
            yield running
        finally:
            running.environment_file.unlink(missing_ok=True)
            plane.close(end_jobs=end_jobs)
            server.should_exit = True
            thread.join(timeout=_START_SECONDS)


def _listen(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets created with IPPROTO_TCP; without it small responses take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(f"can't listen on port {port}: {error.strerror or error}; choose another") from error
    return listener


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(_START_SECONDS / 0.02)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.02)
    raise EndpointError("the emulator didn't start")
