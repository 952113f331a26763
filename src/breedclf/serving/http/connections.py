"""Connections that can't be held for nothing: bounds on their number and their headers' time; the refused hear why."""

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
_MOST_LINES, _BYTES_A_LINE = 2000, 40  # of headers and of chunks, in what is read at a time
_NUMBERS = count()


def most_connections() -> int:
    """How many connections to hold at a time, by the limit on open files, which is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + _FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(50, min(MOST_CONNECTIONS, soft - _FILES_BESIDE))


class PatientProtocol(H11Protocol):
    """uvicorn's connection, with a limit on the time until a request's headers are whole.

    A malformed or too long header is answered with 400, and what else its sender sends is thrown away for a moment:
    closing at once would reset the connection before the answer is read. Where there are `most` connections, the oldest
    that waits for a request makes room. A client that has closed its own side gets its answer.
    """

    most = MOST_CONNECTIONS

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._header_timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._has_said_all = False
        self.number: int = next(_NUMBERS)

    @property
    def waits_for_a_request(self) -> bool:
        """Whether nothing is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()
        if len(self.connections) > self.most:
            everyone = cast("set[PatientProtocol]", self.connections)
            waiting = (each for each in everyone if each.waits_for_a_request and not each.transport.is_closing())
            min(waiting, key=lambda each: each.number, default=self).transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has said all it will: keep the connection for the answer, if it has asked something whole."""
        self._has_said_all = True
        return not self.waits_for_a_request and self.conn.their_state is not h11.SEND_BODY

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._has_said_all and self.waits_for_a_request:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._is_in_a_plain_body() and data.count(b"\r\n") > _MOST_LINES + len(data) // _BYTES_A_LINE:
            self.send_400_response("Too many short lines or chunks at a time: send larger chunks, or Content-Length.")
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._await_headers()

    def _is_in_a_plain_body(self) -> bool:
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

    def _await_headers(self) -> None:
        self._stop_timer()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        self._header_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
