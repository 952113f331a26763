"""Runs a model's own code on a loopback port in place of a serving container; exits when stdin is closed.

`package` runs the server of the breedclf in the model's code/, as a custom image does. `handlers` calls
code/inference.py with `sagemaker-inference` if this interpreter has it, and directly otherwise.
"""

from __future__ import annotations

import hmac
import importlib
import inspect
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN_VARIABLE = "BREEDCLF_TOKEN"
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
Answering = Callable[[bytes, Mapping[str, str]], tuple[int, str, bytes]]


def main() -> None:
    """Serve a model directory on a port: `serve.py handlers|package MODEL PORT`."""
    kind, model, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "package":
        _run_package(model, port)
        return
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.path.insert(0, str(model / "code"))
    state: dict[str, Answering] = {}
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler_class(state))
    threading.Thread(target=_load, args=(model, state), daemon=True).start()
    server.serve_forever()


def _run_package(model: Path, port: int) -> None:
    """Run the server of the model's own breedclf, and end it when stdin is closed."""
    _log_runner("the server of the breedclf in the model's own code/")
    environment = {**os.environ, "PYTHONPATH": str(model / "code"), "SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, "-m", "breedclf.serving", "serve"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as server:
        threading.Thread(target=_end_with_stdin, args=(server.terminate,), daemon=True).start()
        exit_code = server.wait()
    sys.exit(exit_code)


def _end_with_stdin(end: Callable[[], None] = lambda: os._exit(0)) -> None:
    sys.stdin.buffer.read()
    end()


def _load(model: Path, state: dict[str, Answering]) -> None:
    try:
        state["answer"] = _with_toolkit(model) or _without_toolkit(model)
    except BaseException:  # noqa: BLE001 - every error of the model's code ends the container
        traceback.print_exc()
        os._exit(1)


def _with_toolkit(model: Path) -> Answering | None:
    """Answer with `sagemaker-inference`; None if it isn't installed."""
    try:
        transformer_module = importlib.import_module("sagemaker_inference.transformer")
    except ImportError:
        return None
    transformer = transformer_module.Transformer()
    lock, context = threading.Lock(), _Context(model)  # one context for all requests, as in the model servers

    def answer(body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        with lock:
            context.start(headers)
            output = transformer.transform([{"body": body}], context)[0]
            return context.status, context.content_type, output.encode() if isinstance(output, str) else bytes(output)

    transformer.validate_and_initialize(model_dir=str(model), context=context)
    _log_runner("the model's code/inference.py, called by sagemaker-inference")
    return answer


def _without_toolkit(model: Path) -> Answering:
    """Answer by calling the four handlers in order."""
    module = importlib.import_module("inference")
    loaded = module.model_fn(str(model))
    _log_runner("the model's code/inference.py, whose four functions are called directly")

    def answer(body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        context, accept = _Context(model), headers["Accept"]
        context.start(headers)
        try:
            data = _call(module.input_fn, body, headers["Content-Type"], context)
            prediction = _call(module.predict_fn, data, loaded, context)
            output = _call(module.output_fn, prediction, accept, context)
        except Exception:  # noqa: BLE001 - the toolkits give the same answer
            return 500, "application/json", json.dumps({"error": traceback.format_exc()}).encode()
        content, content_type = output if isinstance(output, tuple) else (output, accept)
        return context.status, content_type, content.encode() if isinstance(content, str) else bytes(content)

    return answer


def _call(handler: Callable[..., Any], *arguments: Any) -> Any:
    """Call a handler; the context is the last argument, which handlers may omit."""
    count = len(inspect.signature(handler).parameters)
    return handler(*arguments[:count])


def _log_runner(runner: str) -> None:
    sys.stdout.write(f"breedclf emulator: the image is run by {runner}\n")
    sys.stdout.flush()


class _Context:
    """The part of the toolkits' context that handlers use."""

    def __init__(self, model: Path) -> None:
        self.system_properties = {"model_dir": str(model)}
        self.request_processor = [self]
        self.start({})

    def start(self, headers: Mapping[str, str]) -> None:
        """Reset the context for the next request."""
        self.status = 200
        self.content_type = "application/json"
        self._properties = dict(headers)

    def get_request_properties(self) -> dict[str, str]:
        return self._properties

    def get_request_header(self, number: int, name: str) -> str | None:
        del number
        return self._properties.get(name)

    def set_response_content_type(self, number: int, kind: str) -> None:
        del number
        self.content_type = kind

    def set_response_status(self, code: int = 200, phrase: str = "") -> None:
        del phrase
        self.status = code


def _handler_class(state: dict[str, Answering]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200 if self.path == "/ping" and "answer" in state else 503, "text/plain", b"")

        def do_POST(self) -> None:
            sent, expected = self.headers.get("Authorization") or "", f"Bearer {os.environ[TOKEN_VARIABLE]}"
            if not hmac.compare_digest(sent.encode(), expected.encode()):  # another user of this machine
                self.close_connection = True
                self._send(401, "text/plain", b"unauthorized")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path != "/invocations" or "answer" not in state:
                self._send(503, "text/plain", b"not ready")
                return
            headers = {
                "Content-Type": self.headers.get("Content-Type") or "",
                "Accept": self.headers.get("Accept") or "*/*",
            }
            if attributes := self.headers.get(_ATTRIBUTES):
                headers[_ATTRIBUTES] = attributes
            self._send(*state["answer"](body, headers))

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            del size
            if self.path != "/ping":
                sys.stdout.write(f"{self.command} {self.path} {code}\n")
                sys.stdout.flush()

    return Handler


if __name__ == "__main__":
    main()
