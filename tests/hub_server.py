"""A local server in place of Hugging Face's, with files of repositories, for its own client."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.server_threads import running

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Files of repositories by their name, with the sha256 that the server says they have."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files: dict[str, bytes] = {}
        self.sha256: dict[str, str] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository: str, name: str, content: bytes, sha256: str | None = None) -> None:
        path = f"/{repository}/resolve/main/{name}"
        self.files[path] = content
        self.sha256[path] = sha256 or hashlib.sha256(content).hexdigest()


class HubHandler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        if content is not None:
            self.wfile.write(content)

    def _answer(self) -> bytes | None:
        assert isinstance(self.server, Hub)
        content = self.server.files.get(self.path)
        self.server.requests.append(f"{self.command} {self.path.rpartition('/')[2]}")
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{self.server.sha256[self.path]}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def log_message(self, *_: object) -> None:
        pass


def running_hub() -> AbstractContextManager[Hub]:
    """The server, until the end of the block; `HF_ENDPOINT` of a process is its `url`."""
    return running(Hub())
