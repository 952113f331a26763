"""The emulator's S3: moto in this process, or another S3 service, called with the keys of this process."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

import urllib3

from breedclf.errors import ConfigError, MissingExtraError

_WORKERS = 8
_TIMEOUT = urllib3.Timeout(connect=10, read=300)
_PART_BYTES = 256 << 10
_NOT_FORWARDED = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "date",
    "server",
    "expect",
}
_SIGNATURE_HEADERS = {
    "authorization",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "host",
    "content-length",
}


@dataclass(frozen=True)
class S3Request:
    """A verified request with decoded body; path and query as they were sent."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class S3Answer:
    """A response of S3."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: Iterable[bytes]


class Objects(Protocol):
    """An S3 that answers requests, and botocore's client for the emulator's own use."""

    def answer(self, request: S3Request) -> S3Answer: ...

    def client(self, region: str) -> Any: ...


class MotoObjects:
    """moto's S3 in memory, called as a function; it has no port.

    Raises:
        MissingExtraError: moto isn't installed.
    """

    def __init__(self) -> None:
        try:
            from moto.moto_server.werkzeug_app import create_backend_app
        except ImportError as error:
            raise MissingExtraError(
                "the emulator's S3 is moto: pip install 'moto[s3,server]', or use another S3 with --s3-endpoint"
            ) from error
        self._app = create_backend_app("s3")
        self._one_at_a_time = threading.Lock()

    def answer(self, request: S3Request) -> S3Answer:
        from werkzeug.test import run_wsgi_app

        # moto checks the condition of a write and then writes, and it closes what it replaces; S3's writes are atomic.
        with self._one_at_a_time:
            body, status, headers = run_wsgi_app(self._app, _environ(request), buffered=True)
            if "list-type" in request.query:
                headers["x-amz-bucket-region"] = self._region_of(request)
        return S3Answer(int(status.split()[0]), list(headers), body)

    def _region_of(self, request: S3Request) -> str:
        """The region of the bucket of a request, which moto adds to fewer answers than S3."""
        from werkzeug.test import run_wsgi_app

        head = _environ(replace(request, method="HEAD", query="", body=b""))
        return str(run_wsgi_app(self._app, head, buffered=True)[2].get("x-amz-bucket-region", ""))

    def client(self, region: str) -> Any:
        client = _client(region, None, aws_access_key_id="emulator", aws_secret_access_key="emulator")
        client.meta.events.register("before-send.s3", self._sent)
        return client

    def _sent(self, request: Any, **_: Any) -> Any:
        """botocore's hook that answers a prepared request without a network."""
        from botocore.awsrequest import AWSResponse

        parts = urlsplit(request.url)
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        headers = [
            (name, value if isinstance(value, str) else value.decode()) for name, value in request.headers.items()
        ]
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        headers += [("Host", parts.netloc), ("Content-Length", str(len(body)))]
        found = self.answer(S3Request(request.method, parts.path, parts.query, headers, bytes(body)))
        return AWSResponse(request.url, found.status, dict(found.headers), _Raw(b"".join(found.body)))


class RemoteObjects:
    """Another S3, such as MinIO; requests are signed again with the keys of this process's environment."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._pool = urllib3.PoolManager(maxsize=64, retries=False)

    def answer(self, request: S3Request) -> S3Answer:
        pairs = [pair for pair in request.query.split("&") if pair and not pair.lower().startswith("x-amz-")]
        url = f"{self._endpoint}{request.path}" + (f"?{'&'.join(pairs)}" if pairs else "")
        dropped = _NOT_FORWARDED | _SIGNATURE_HEADERS
        headers = {name: value for name, value in request.headers if name.lower() not in dropped}
        answer = self._pool.request(
            request.method,
            url,
            body=request.body or None,
            headers=self._signed(request.method, url, headers, request.body),
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=_TIMEOUT,
        )
        forwarded = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_FORWARDED]
        return S3Answer(answer.status, forwarded, _parts(answer))

    def client(self, region: str) -> Any:
        return _client(region, self._endpoint)

    def _signed(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        import botocore.session
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = botocore.session.Session().get_credentials()
        if credentials is None:
            raise ConfigError(f"no credentials for the S3 at {self._endpoint}: set AWS_ACCESS_KEY_ID and its secret")
        signed = AWSRequest(method=method, url=url, data=body, headers=headers)
        S3SigV4Auth(credentials.get_frozen_credentials(), "s3", self._region).add_auth(signed)
        return dict(signed.headers.items())


class _Raw(io.BytesIO):
    """A response body in urllib3's form, which botocore reads."""

    def stream(self, size: int = 1 << 16, decode_content: bool | None = None) -> Iterator[bytes]:
        del decode_content
        while part := self.read(size):
            yield part


def _client(region: str, endpoint: str | None, **keys: str) -> Any:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=2 * _WORKERS, retries={"max_attempts": 2})
    return session.create_client(
        "s3", region_name=region, endpoint_url=endpoint or "http://127.0.0.1", config=config, **keys
    )


def _parts(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(_PART_BYTES, decode_content=False)
    finally:
        answer.release_conn()


def _environ(request: S3Request) -> dict[str, Any]:
    """The WSGI environment of a request, with the raw path and the original case of metadata names for moto."""
    from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY, should_preserve_original_header_name

    target = request.path + (f"?{request.query}" if request.query else "")
    found: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    original_names: dict[str, str] = {}
    for name, value in request.headers:
        if name.lower() in ("expect", "origin", "transfer-encoding"):
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        found[key] = f"{found[key]},{value}" if key in found else value
        if should_preserve_original_header_name(name):
            original_names[key] = name
    found["CONTENT_LENGTH"] = str(len(request.body))
    found[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = original_names
    return found
