"""Listening sockets: they keep their port from other processes of this program, and have small delays."""

from __future__ import annotations

import os
import socket
import weakref

from breedclf.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        ConfigError: the port is in use, or the address isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only with an explicit TCP protocol does asyncio set TCP_NODELAY; without it, small responses are delayed by 40 ms.
    server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen(1024)
    except (OSError, OverflowError) as error:
        server.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can't listen on {host} port {port}: {reason}; choose another with --port") from error
    keep_private(server)
    return server


def keep_private(listener: socket.socket) -> None:
    """Keep child processes from inheriting a listening socket, which would keep its port in use."""
    listener.set_inheritable(False)
    _LISTENERS.add(listener)


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _close_listeners() -> None:
    for listener in list(_LISTENERS):
        listener.close()


_LISTENERS: weakref.WeakSet[socket.socket] = weakref.WeakSet()
os.register_at_fork(after_in_child=_close_listeners)
