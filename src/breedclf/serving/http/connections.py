"""Limits on connections: their number, and the time until headers are complete."""

from __future__ import annotations

import asyncio
import json
import resource
from itertools import count
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0
MOST_CONNECTIONS = 2000
_FILES_BESIDE = 200
_LINGER_SECONDS = 2.0
_MOST_LINES, _BYTES_A_LINE = 2000, 40  # of headers and chunks, per read
_NUMBERS = count()


def most_connections() -> int:
    """The maximum number of connections by the limit on open files, which is raised if possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = MOST_CONNECTIONS + _FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < required:
        soft = required if hard == resource.RLIM_INFINITY else min(required, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(50, min(MOST_CONNECTIONS, soft - _FILES_BESIDE))


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with a time limit on request headers and a limit on connections.

    A malformed or too large header is answered with 400, and further input is discarded for a moment: closing at once
    would reset the connection before the client reads the response. Beyond `most` connections, the oldest idle one is
    closed. A client that has closed its sending side still receives its response.
    """

    most = MOST_CONNECTIONS

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._header_timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._input_closed = False
        self.number: int = next(_NUMBERS)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being processed."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()
        if len(self.connections) > self.most:
            connections = cast("set[PatientProtocol]", self.connections)
            waiting = (each for each in connections if each.is_idle and not each.transport.is_closing())
            min(waiting, key=lambda each: each.number, default=self).transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client closed its sending side: keep the connection open if a complete request is being processed."""
        self._input_closed = True
        return not self.is_idle and self.conn.their_state is not h11.SEND_BODY

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._input_closed and self.is_idle:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._is_in_unchunked_body() and data.count(b"\r\n") > _MOST_LINES + len(data) // _BYTES_A_LINE:
            self.send_400_response("Too many short lines or chunks: send larger chunks, or use Content-Length.")
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._start_header_timer()

    def _is_in_unchunked_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and all(name != b"transfer-encoding" for name, _ in self.headers)

    def send_400_response(self, msg: str) -> None:
        self._refused = True
        self._stop_timer()
        body = json.dumps({"error": {"code": "BadRequest", "message": msg}, "request_id": ""}).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _start_header_timer(self) -> None:
        self._stop_timer()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._close_if_no_request)

    def _close_if_no_request(self) -> None:
        self._header_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
