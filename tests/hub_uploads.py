"""A local server in place of Hugging Face's that takes uploads from its own client: repositories, commits, large files.

It is strict where the real one is: tokens, owners, metadata, and files whose SHA-256 differs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from huggingface_hub import ModelCard

from tests.server_threads import running

TOKEN, OWNER = "hf_test", "me"
_REPOSITORY = r"(?P<repository>[^/]+/[^/]+?)"


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class UploadHub(ThreadingHTTPServer):
    """Repositories by name; `refuse` is a status with which every commit is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.refuse: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class RefusedError(Exception):
    def __init__(self, status: int, message: str = "", code: str = "", **more: str) -> None:
        self.status, self.message, self.code, self.more = status, message, code, more


class _Handler(BaseHTTPRequestHandler):
    server: UploadHub

    def do_POST(self) -> None:
        self._answer(
            {
                "/api/repos/create": self._create,
                "/api/validate-yaml": self._validate,
                rf"/api/models/{_REPOSITORY}/preupload/main": self._preupload,
                rf"/{_REPOSITORY}\.git/info/lfs/objects/batch": self._batch,
                rf"/api/models/{_REPOSITORY}/commit/main": self._commit,
            }
        )

    def do_GET(self) -> None:
        self._answer({rf"/api/models/{_REPOSITORY}(/revision/main)?": self._info})

    def do_PUT(self) -> None:
        content, oid = self._body(), self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.server.uploads.append(oid)
        self._send(200, {})

    def _answer(self, routes: dict[str, Any]) -> None:
        body = self._body()
        try:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                raise RefusedError(401, "Invalid credentials in Authorization header")
            for route, answer in routes.items():
                if found := re.fullmatch(route, self.path.partition("?")[0]):
                    self._send(200, answer(body, **{k: v for k, v in found.groupdict().items() if v}))
                    return
            raise RefusedError(404, f"no {self.path}")
        except RefusedError as refused:
            headers = {"X-Error-Message": refused.message, "X-Error-Code": refused.code}
            self._send(refused.status, {"error": refused.message, **refused.more}, headers)

    def _create(self, body: bytes) -> dict[str, Any]:
        wanted = json.loads(body)
        owner = wanted["organization"] or OWNER
        name = f"{owner}/{wanted['name']}"
        if owner != OWNER:
            raise RefusedError(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        if name in self.server.repositories:
            raise RefusedError(409, "You already created this model repo", url=f"{self.server.url}/{name}")
        self.server.repositories[name] = Repository(wanted["visibility"] == "private")
        return {"url": f"{self.server.url}/{name}", "name": name}

    def _validate(self, body: bytes) -> dict[str, Any]:
        data = ModelCard(json.loads(body)["content"]).data
        if not data.to_dict():
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        return {"errors": [], "warnings": []}

    def _preupload(self, body: bytes, repository: str) -> dict[str, Any]:
        files = self._of(repository).files
        return {
            "files": [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": _blob(files[each["path"]]) if each["path"] in files else None,
                }
                for each in json.loads(body)["files"]
            ]
        }

    def _batch(self, body: bytes, repository: str) -> dict[str, Any]:
        self._of(repository)
        objects = json.loads(body)["objects"]
        for each in objects:
            if each["oid"] not in self.server.objects:
                each["actions"] = {"upload": {"href": f"{self.server.url}/objects/{each['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def _commit(self, body: bytes, repository: str) -> dict[str, Any]:
        if self.server.refuse is not None:
            raise RefusedError(self.server.refuse, "no room in this plan")
        target = self._of(repository)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                target.commits.append(value["summary"])
            elif entry["key"] == "file":
                target.files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert entry["key"] == "lfsFile"
                target.files[value["path"]] = self.server.objects[value["oid"]]
        oid = hashlib.sha1(body).hexdigest()
        return {"commitUrl": f"{self.server.url}/{repository}/commit/{oid}", "commitOid": oid, "success": True}

    def _info(self, _: bytes, repository: str) -> dict[str, Any]:
        self._of(repository)
        return {"id": repository, "sha": "0" * 40, "siblings": [], "tags": []}

    def _of(self, repository: str) -> Repository:
        if repository not in self.server.repositories:
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return self.server.repositories[repository]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _blob(content: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def running_upload_hub() -> AbstractContextManager[UploadHub]:
    """The server, until the end of the block; `HF_ENDPOINT` of a process is its `url`."""
    return running(UploadHub())
