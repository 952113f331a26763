"""`python -m breedclf.serving.worker`: the process of a local endpoint, controlled by its supervisor over stdin.

It serves on a port of its own and, after the command `accept`, also on the endpoint's inherited socket. It reports
events to stdout, as one JSON object per line. When stdin is closed, it finishes pending requests and exits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from breedclf.errors import BreedclfError
from breedclf.runtime.quick_exit import leave
from breedclf.serving.engines.flags import add_engine_flags, engine_choice
from breedclf.serving.engines.memory import share_freed_memory
from breedclf.serving.http.app import Service
from breedclf.serving.listening import keep_private, listen, url_of
from breedclf.serving.logs import log_as_json
from breedclf.serving.parity import check_parity
from breedclf.serving.server import Server

ACCEPT = "accept"
READY = "ready"
FAILED = "failed"


def main() -> int:
    """Serve until stdin is closed."""
    parser = argparse.ArgumentParser(prog="python -m breedclf.serving.worker")
    parser.add_argument("model", type=Path)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the endpoint's listening socket")
    parser.add_argument("--activity", type=Path, required=True, help="file to touch on requests")
    parser.add_argument("--check", action="store_true", help="compare predictions with the classifier's first")
    add_engine_flags(parser)
    arguments = parser.parse_args()
    log_as_json()
    share_freed_memory()
    public = socket.socket(fileno=arguments.socket)
    keep_private(public)
    server = Server(Service(on_prediction=_Activity(arguments.activity).note, engine=engine_choice(arguments)))
    with listen("127.0.0.1", 0) as private:
        url = url_of(private)

        def loaded() -> None:
            pipeline = server.service.pipeline
            if arguments.check and pipeline is not None:
                check_parity(url, arguments.model, reference=pipeline.engine.reference())
            _report(READY)

        with server.graceful_exit():
            server.load_in_background(arguments.model, then=loaded)
            threading.Thread(target=_read_commands, args=(server, public), name="stdin", daemon=True).start()
            server.run([private])
    if server.failure is None:
        return 0
    message = str(server.failure) if isinstance(server.failure, BreedclfError) else repr(server.failure)
    _report(FAILED, message=message)
    return 3


class _Activity:
    """Touches a file on requests, at most once per second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = 0.0

    def note(self) -> None:
        now = time.monotonic()
        if now - self._last >= 1:
            self._last = now
            self._file.touch()


def _read_commands(server: Server, public: socket.socket) -> None:
    for line in sys.stdin:
        if line.strip() == ACCEPT and server.loop is not None:
            asyncio.run_coroutine_threadsafe(server.listen_also(public), server.loop)
    server.should_exit = True


def _report(event: str, **values: str) -> None:
    os.write(sys.stdout.fileno(), (json.dumps({"event": event, **values}) + "\n").encode())


if __name__ == "__main__":
    leave(main(), wait=False)
