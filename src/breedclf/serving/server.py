"""The server process: listening sockets, loading the model, and graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import uvicorn

from breedclf.errors import ArtifactError, ConfigError, EndpointError
from breedclf.inference.classifier import Classifier
from breedclf.jobs.endpoints import DEFAULT_ENGINE, EngineChoice
from breedclf.runtime.machine import available_cores
from breedclf.runtime.quick_exit import leave
from breedclf.serving.core import Limits
from breedclf.serving.engines.engine import Engine, TorchEngine
from breedclf.serving.engines.memory import share_freed_memory
from breedclf.serving.http.access import allowed_hosts, check_exposure, check_origins
from breedclf.serving.http.app import Service, create_app
from breedclf.serving.http.connections import PatientProtocol, most_connections
from breedclf.serving.listening import listen, url_of
from breedclf.serving.requests import STUCK_SECONDS, Pipeline
from breedclf.serving.uvicorn_config import quiet_config

log: logging.Logger = logging.getLogger(__name__)

DEFAULT_PORT = 8080
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
TOKEN_VARIABLE = "BREEDCLF_TOKEN"
DRAIN_SECONDS = 25
_END_SECONDS = 28.5  # of the documented 30
EXIT_INTERRUPTED = 130
_LAST_ARRIVALS_SECONDS = 0.5
_KEEP_ALIVE_SECONDS = 65
_MAX_HEADER_BYTES = 32 << 10


@dataclass(frozen=True)
class Address:
    """Where to listen, and access control; `origins` are allowed for cross-origin scripts, `*` for all."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    no_token: bool = False
    extra_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_exposure(self.host, self.token, no_token=self.no_token)
        check_origins(self.origins)
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port {self.port}: choose one from 1 to 65535, or 0 for any free port")

    @property
    def hosts(self) -> frozenset[str]:
        return allowed_hosts(self.host, self.extra_hosts)


def default_port() -> int:
    """The port that SageMaker requests, otherwise 8080.

    Raises:
        ConfigError: the variable isn't a number.
    """
    text = os.environ.get(PORT_VARIABLE, str(DEFAULT_PORT))
    if not text.isdigit():
        raise ConfigError(f"{PORT_VARIABLE}={text!r} is not a port")
    return int(text)


def serve(
    model: Path,
    address: Address,
    *,
    engine: EngineChoice = DEFAULT_ENGINE,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish pending requests and return; exits at once if still loading the model.

    Args:
        model: the model directory.
        address: where to listen, and access control.
        engine: the inference engine.
        ready: called with the URL once the model is loaded.

    Raises:
        ConfigError: the port is in use, or the address is reachable by others without a token.
        ArtifactError: the model directory is missing, damaged, foreign or newer than this breedclf.
        MissingExtraError: the engine isn't installed.
        ParityError: the engine is less accurate than allowed.
    """
    share_freed_memory()
    service = Service(token=address.token, hosts=address.hosts, origins=address.origins, engine=engine)
    with listen(address.host, address.port) as listener:
        server = Server(service)
        url = url_of(listener)
        with server.graceful_exit():
            server.load_in_background(model, then=lambda: ready(url))
            server.run([listener])
    if server.failure is not None:
        raise server.failure


class Server(uvicorn.Server):
    """uvicorn with loading in the background and graceful shutdown, which finishes all requests.

    While draining, new connections are still served, with `Connection: close` in each response.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.failure: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._loading: threading.Thread | None = None
        PatientProtocol.most = most_connections()
        super().__init__(
            quiet_config(
                create_app(service),
                http=PatientProtocol,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                grace_seconds=DRAIN_SECONDS,
                h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            )
        )

    def load_in_background(self, model: Path, *, then: Callable[[], None]) -> None:
        """Load the model in a thread, and call `then` in it afterwards. A failure stops the server."""

        def load() -> None:
            try:
                self.service.pipeline = load_pipeline(model, self.service)
                then()
            except BaseException as error:  # noqa: BLE001 - reported by `serve`
                self.failure = error
                self.should_exit = True

        self._loading = threading.Thread(target=load, name="load", daemon=True)
        self._loading.start()

    @contextlib.contextmanager
    def graceful_exit(self) -> Iterator[None]:
        """Exit with 0 on SIGTERM at any time; uvicorn raises the signal again after its shutdown.

        If the model is still being loaded, exit immediately: the loading thread can't be stopped, and the interpreter's
        own shutdown would abort in it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before, code = signal.signal(signal.SIGTERM, self.handle_exit), 0
        try:
            yield
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            if self._loading is not None and self._loading.is_alive():
                leave(code, wait=False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: shut down, and exit after a time limit in any case."""
        if not self._captured_signals:
            _exit_in_time(0)
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Stop a server whose decoders are all stuck, so that its supervisor restarts it."""
        pipeline = self.service.pipeline
        if counter % 10 == 0 and pipeline is not None and pipeline.stuck_seconds > STUCK_SECONDS:
            self.failure = EndpointError(
                f"all decoders have been stuck for {pipeline.stuck_seconds:.0f} s, beyond their time limit; the server "
                "stops: restart it"
            )
            self.should_exit = True
            _exit_in_time(self.failure.exit_code)
        return await super().on_tick(counter)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            if self.service.pipeline is not None:
                self.service.pipeline.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def listen_also(self, listener: socket.socket) -> None:
        """Accept connections on one more socket."""
        loop = asyncio.get_running_loop()
        config, state = self.config, self.server_state

        def protocol() -> asyncio.Protocol:
            return PatientProtocol(config=config, server_state=state, app_state={}, _loop=loop)

        self.servers.append(await loop.create_server(protocol, sock=listener, backlog=1024))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.draining = True
        for each in self.servers:
            each.close()
        await asyncio.sleep(_LAST_ARRIVALS_SECONDS)
        await super().shutdown(sockets)


def _exit_in_time(code: int) -> None:
    last = threading.Timer(_END_SECONDS, leave, (code,), {"wait": False})
    last.daemon = True
    last.start()


def load_engine(model: Path, choice: EngineChoice, limits: Limits) -> Engine:
    """Load a model with the chosen engine; a process has only one engine, since their threads compete.

    Raises:
        MissingExtraError: the engine isn't installed.
        ArtifactError: the model directory is missing, damaged, foreign or newer than this breedclf.
    """
    if choice.name == "openvino":
        from breedclf.serving.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, choice, limits)
    return TorchEngine(Classifier(model, precision=choice.precision), limits)  # type: ignore[arg-type]


def load_pipeline(model: Path, service: Service) -> Pipeline:
    """Load, verify and warm up the model.

    Raises:
        ArtifactError: the model directory is missing, damaged, foreign or newer than this breedclf, or its
            probabilities aren't finite.
    """
    engine = load_engine(model, service.engine, service.limits)
    try:
        engine.predictions([engine.sample()])
    except ArtifactError as error:
        raise ArtifactError(f"{model} can't be served: {error}") from error
    cores = available_cores()
    return Pipeline(engine, replace(service.bounds, decoders=max(1, min(service.bounds.decoders, cores))))
