"""A web server on this machine that has files, knows ranges, and misbehaves on request."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.server_threads import running


class ArchiveServer(ThreadingHTTPServer):
    """`files` by path; `asked` has the path and range of every request.

    `cuts` ends one response each after this many bytes of its body, `states` answers one request each with that status,
    `ranges` says whether ranges are honoured, `tag` is the version of all files, and `kind` their content type.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cuts: list[int] = []
        self.states: list[int] = []
        self.ranges = True
        self.tag: str | None = '"first"'
        self.kind = "application/octet-stream"
        self.told_length = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is no fault."""


class _Handler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        content = server.files.get(self.path)
        state = server.states.pop(0) if server.states else None
        if content is None or state:
            self.send_error(state or 404)
            return
        start = self._start(wanted, content)
        if start is None:
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if wanted and start else 200)
        self.send_header("Content-Type", server.kind)
        if server.told_length:
            self.send_header("Content-Length", str(len(body)))
        if wanted and start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)
        self.close_connection = True

    def _start(self, wanted: str | None, content: bytes) -> int | None:
        """The offset at which the response starts: 0 if the client has a part of another file."""
        version = self.headers.get("If-Range", self.server.tag)
        if not wanted or not self.server.ranges or version != self.server.tag:
            return 0
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        assert match, wanted
        start = int(match[1])
        return start if start < len(content) else None

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


def serving() -> AbstractContextManager[ArchiveServer]:
    """A server for the length of the block."""
    return running(ArchiveServer())
