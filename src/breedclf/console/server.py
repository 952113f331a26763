"""The console's process: listens on loopback, prints its address, and ends without interrupting any job."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping
from socket import socket

import uvicorn

from breedclf.console.app import Console, create_app, whole_page
from breedclf.console.pages import PAGES
from breedclf.overview.overview import Overview
from breedclf.serving.http.connections import PatientProtocol, most_connections
from breedclf.serving.listening import listen, url_of
from breedclf.serving.uvicorn_config import quiet_config

HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 1
_MAX_HEADER_BYTES = 64 << 10


def run_console(
    overviews: Mapping[str, Overview],
    *,
    port: int = 0,
    read_only: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the console until Ctrl-C or SIGTERM.

    Args:
        overviews: what is shown, by the name of its backend; the first is the default.
        port: the port; 0 for any that is free.
        read_only: refuse all actions.
        ready: called with the address, which contains the token.

    Raises:
        ConfigError: the port is in use.
    """
    token = secrets.token_urlsafe(24)
    with listen(HOST, port) as listener:
        address = url_of(listener)
        console = Console(overviews, token, listener.getsockname()[1], read_only)
        server = ConsoleServer(console)
        threading.Thread(target=look_ahead, args=(console,), daemon=True).start()
        ready(f"{address}/?token={token}")
        server.run([listener])


def look_ahead(console: Console) -> None:
    """Make the page that opens first, so that it is there when a browser asks: a long list of jobs is read slowly."""
    target = PAGES[0].path
    with contextlib.suppress(Exception):  # the page says what is wrong
        whole_page(console, target, console.content(target), "")


class ConsoleProtocol(PatientProtocol):
    """A browser that closes its side is gone, and follows no page any more."""

    def eof_received(self) -> bool:  # type: ignore[override]
        return False


class ConsoleServer(uvicorn.Server):
    """uvicorn that ends the events of open pages first."""

    def __init__(self, console: Console) -> None:
        self._console = console
        ConsoleProtocol.most = most_connections()
        super().__init__(
            quiet_config(
                create_app(console),
                http=ConsoleProtocol,
                h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
                grace_seconds=_SHUTDOWN_SECONDS,
            )
        )

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await self._console.live.close()
        await super().shutdown(sockets)
