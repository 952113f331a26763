"""An emulator that runs: moto's S3 unless another is given, and the plane behind a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from breedclf.backends.emulator.app import create_app
from breedclf.backends.emulator.plane import Options, Plane
from breedclf.backends.local.backend import LocalBackend
from breedclf.errors import ConfigError, EndpointError, MissingExtraError

HOST = "127.0.0.1"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator: where it is, and the plane behind it."""

    url: str
    s3_url: str
    plane: Plane

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead AWS's SDKs and command line here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "emulator",
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextlib.contextmanager
def emulator(local: LocalBackend, *, port: int = 0, s3_endpoint: str | None = None) -> Iterator[Emulator]:
    """An emulator in threads of this process, until the end of the block.

    Args:
        local: the back end that runs the jobs; its home holds the emulator's state too, its interpreter plays images.
        port: the port to listen on, 0 for any.
        s3_endpoint: the address of an S3; moto's own server if not given, which forgets everything at the end.

    Raises:
        ConfigError: the port is taken.
        MissingExtraError: botocore or moto isn't installed.
    """
    with contextlib.ExitStack() as stack:
        s3_url = s3_endpoint or stack.enter_context(_moto())
        listener = stack.enter_context(_listen(port))
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        plane = Plane(Options(local, s3_url, own_s3=s3_endpoint is None), url)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(plane, s3_url),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="emulator", daemon=True)
        thread.start()
        try:
            _await_start(server, thread)
            plane.start()
            yield Emulator(url, s3_url, plane)
        finally:
            plane.close()
            server.should_exit = True
            thread.join(timeout=_START_SECONDS)


@contextlib.contextmanager
def _moto() -> Iterator[str]:
    """moto's server, on a port of its own."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise MissingExtraError(
            "the emulator's S3 is moto's: pip install 'moto[s3,server]', or name another with --s3-endpoint"
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request otherwise
    server = ThreadedMotoServer(HOST, 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
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
