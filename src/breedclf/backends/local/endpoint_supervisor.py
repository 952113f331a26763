"""`python -m breedclf.backends.local.endpoint_supervisor FOLDER` keeps the socket and the worker of one endpoint alive.

The supervisor owns the listening socket, so connections wait in its queue while a worker is replaced or restarted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from breedclf.backends.common.processes import Identity
from breedclf.backends.local.endpoint_folder import EndpointFolder, Order, failed, reason_to_end
from breedclf.errors import EndpointError
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus, EngineChoice

TICK_SECONDS = 0.05
START_SECONDS = 300.0
DRAIN_SECONDS = 30.0
MAX_RESTARTS_IN_A_ROW = 5
_STEADY_SECONDS = 60.0


class Worker:
    """A process that serves one generation of the model."""

    def __init__(
        self, folder: EndpointFolder, generation: int, listener: socket.socket, engine: EngineChoice, *, check: bool
    ) -> None:
        self.generation = generation
        self.started: float = time.monotonic()
        self.ready: bool = False
        self.accepts = False
        self.failure: str | None = None
        self._is_group_dead = False
        arguments = [str(folder.model(generation)), "--socket", str(listener.fileno())]
        arguments += ["--activity", str(folder.activity_file), *(["--check"] if check else []), *engine.flags()]
        with folder.log_file.open("ab") as log:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "breedclf.serving.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(listener.fileno(),),
                process_group=0,
            )
        assert self.process.stdout is not None
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has exited; everything it started is killed then."""
        ended = self.process.poll() is not None
        if ended:
            self._kill_group()
        return ended

    @property
    def age(self) -> float:
        return time.monotonic() - self.started

    def accept(self) -> None:
        """Let it accept the endpoint's requests."""
        assert self.process.stdin is not None
        self.accepts = True
        with contextlib.suppress(OSError):
            self.process.stdin.write(b"accept\n")
            self.process.stdin.flush()

    def ask_to_end(self) -> None:
        """Let it answer the requests it accepted, and exit."""
        self.started = time.monotonic()
        with contextlib.suppress(OSError):
            self.process.terminate()

    def kill(self) -> None:
        self._kill_group()
        self.process.wait()

    def _kill_group(self) -> None:
        if self._is_group_dead:  # the group's number may belong to another by now
            return
        self._is_group_dead = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def failure_reason(self) -> str:
        return self.failure or f"its process ended with exit code {self.process.returncode}; see the log"

    def _listen(self, out: IO[bytes]) -> None:
        for line in out:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self.ready = self.ready or event["event"] == "ready"
                self.failure = event.get("message", self.failure)


class Supervisor:
    """Keeps an endpoint in the state that its order describes, until the order is to delete it."""

    def __init__(self, folder: EndpointFolder, order: Order) -> None:
        self._folder = folder
        self._identity = Identity.of(os.getpid()).to_dict()
        self._parent = Identity.from_dict(order.parent) if order.parent else None
        self._engine = EngineChoice.from_dict(order.engine)
        self._description = EndpointDescription(
            folder.name,
            EndpointStatus.CREATING,
            order.created,
            expires=order.expires,
            details={"engine": f"{self._engine.name} {self._engine.precision}", "idle_seconds": order.idle_seconds},
        )
        self._tried = 0
        self._restarts = 0
        self._current: Worker | None = None
        self._candidate: Worker | None = None
        self._draining: list[Worker] = []
        self._is_end_requested = False
        self._is_taking_over = False

    def run(self, order: Order) -> None:
        """Run until the endpoint is deleted."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        self._report()
        try:
            self._listener = _listen(order.port)
        except OSError as error:
            self._fail(f"can't listen on port {order.port}: {error.strerror or error}")
            return
        host, port = self._listener.getsockname()
        self._report(url=f"http://{host}:{port}")
        current: Order | None = order
        while self._description.status is not EndpointStatus.FAILED:
            with contextlib.suppress(EndpointError):  # damaged: keep the last valid order
                current = self._folder.read_order()
            if reason := self._reason_to_end(current):
                self._close(reason)
                return
            assert current is not None
            self._step(current)
            time.sleep(TICK_SECONDS)
        self._drain()

    def _step(self, order: Order) -> None:
        if self._candidate is None and not self._is_taking_over and order.generation > self._tried:
            self._tried = order.generation
            self._candidate = Worker(self._folder, order.generation, self._listener, self._engine, check=True)
            if self._current is not None:
                self._report(status=EndpointStatus.UPDATING, failure_reason=None, rolled_back=False)
        if self._candidate is not None:
            self._watch_candidate(self._candidate)
        if self._current is not None:
            self._watch_current(self._current)
        self._kill_late_workers()
        if self._is_taking_over and not self._draining and self._current is not None:
            self._is_taking_over = False  # the previous model gives no more answers
            self._report(status=EndpointStatus.IN_SERVICE, generation=self._current.generation, failure_reason=None)

    def _watch_candidate(self, candidate: Worker) -> None:
        if candidate.ready and not candidate.has_ended:
            candidate.accept()
            if self._current is not None:
                self._retire(self._current)
            self._current, self._candidate = candidate, None
            self._folder.delete_models(except_for={candidate.generation, self._tried, self._tried + 1})
            self._is_taking_over = True
        elif candidate.has_ended or candidate.age > START_SECONDS:
            candidate.kill()
            self._candidate = None
            reason = candidate.failure_reason()
            if self._current is None:
                self._fail(reason)
                return
            self._report(status=EndpointStatus.ROLLING_BACK)
            self._report(
                status=EndpointStatus.IN_SERVICE,
                failure_reason=f"update {candidate.generation} was rolled back: {reason}",
                rolled_back=True,
            )

    def _watch_current(self, current: Worker) -> None:
        if current.ready and not current.accepts:
            current.accept()
        if current.accepts and current.age > _STEADY_SECONDS:
            self._restarts = 0
        if not current.has_ended:
            return
        if self._restarts >= MAX_RESTARTS_IN_A_ROW:
            self._fail(f"the worker died {self._restarts + 1} times in a row: {current.failure_reason()}")
            return
        self._restarts += 1
        self._current = Worker(self._folder, current.generation, self._listener, self._engine, check=False)
        self._report(details={"restarts": self._description.details.get("restarts", 0) + 1})

    def _reason_to_end(self, order: Order | None) -> str | None:
        if self._is_end_requested:
            return "its supervisor received a signal to end"
        return reason_to_end(
            order,
            now=time.time(),
            last_activity=self._folder.last_activity(self._description.created),
            is_parent_alive=self._parent is None or self._parent.is_alive,
        )

    def _close(self, reason: str) -> None:
        with contextlib.suppress(OSError):
            self._report(status=EndpointStatus.DELETING, failure_reason=reason)
        self._drain()
        self._folder.remove()

    def _drain(self) -> None:
        for worker in (self._current, self._candidate):
            if worker is not None:
                self._retire(worker)
        self._current = self._candidate = None
        self._listener.close()
        while self._draining:
            self._kill_late_workers()
            time.sleep(TICK_SECONDS)

    def _retire(self, worker: Worker) -> None:
        worker.ask_to_end()
        self._draining.append(worker)

    def _kill_late_workers(self) -> None:
        for worker in list(self._draining):
            if not worker.has_ended and worker.age > DRAIN_SECONDS:
                worker.kill()
            if worker.has_ended:
                self._draining.remove(worker)

    def _fail(self, reason: str) -> None:
        self._description = failed(self._description, reason)
        self._report()

    def _report(self, **changes: Any) -> None:
        details: Mapping[str, Any] = {**self._description.details, **changes.pop("details", {})}
        worker = self._current or self._candidate
        details = {**details, "worker": None if worker is None else worker.process.pid}
        self._description = replace(self._description, **changes, details=details)
        self._folder.write_state(self._description, self._identity)

    def _end(self, *_: object) -> None:
        self._is_end_requested = True


def main() -> int:
    """Fork the supervisor; the first process returns once the supervisor has reported its first state."""
    folder = EndpointFolder(Path(sys.argv[1]))
    order = folder.read_order()
    assert order is not None, f"{folder.path} holds no order"
    child = os.fork()
    if child:
        while folder.read_state() is None:
            if os.waitpid(child, os.WNOHANG)[0]:
                return 1
            time.sleep(0.01)
        os._exit(0)
    Supervisor(folder, order).run(order)
    return 0


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    sys.exit(main())
