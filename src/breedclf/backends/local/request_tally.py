"""Counts the requests in the log of a local endpoint, of which only what is new is read, and of that a bounded part."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from breedclf.jobs.endpoint_activity import ACTIVITY_MINUTES, EndpointActivity, Requests, activity_of
from breedclf.serving.core import PARITY_ID

MAX_READ_BYTES = 4 << 20  # of a log at a time, about 20,000 requests
_REQUEST, _PATH = b'"event": "request"', b"/invocations"


@dataclass(frozen=True)
class LoggedRequest:
    """A request as the server logged it; times are seconds since 1970 (UTC)."""

    time: float
    status: int
    milliseconds: float


@dataclass
class RequestTally:
    """The requests of one endpoint by minute, for the last hour; any number of threads may ask."""

    _minutes: dict[int, Requests] = field(default_factory=dict)
    _inode: int = 0
    _position: int = 0
    _skipped: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def activity(self, file: Path, now: float, last_request: float | None) -> EndpointActivity:
        """The last hour by a log, as it is now.

        Raises:
            OSError: the log can't be read; one that isn't there has no requests.
        """
        with self._lock:
            try:
                with file.open("rb") as log:
                    self._read(log, now)
            except FileNotFoundError:
                self._start(0)
            self._forget_before(int(now // 60) - ACTIVITY_MINUTES)
            complete = now - self._skipped > 60 * ACTIVITY_MINUTES
            return activity_of(self._minutes, now, last_request=last_request, is_complete=complete)

    def _read(self, log: BinaryIO, now: float) -> None:
        inode, size = _inode_and_size(log)
        if inode != self._inode or size < self._position:
            self._start(inode)
        start = max(self._position, size - MAX_READ_BYTES)
        log.seek(start)
        data = log.read(size - start)
        if start > self._position:
            data = data[data.find(b"\n") + 1 :]
        complete, _, rest = data.rpartition(b"\n")
        found = [request for line in complete.split(b"\n") if (request := logged_request(line)) is not None]
        if start > self._position and not (found and found[0].time < now - 60 * ACTIVITY_MINUTES):
            self._skipped = now
        self._position = size - len(rest)
        for request in found:
            self._minutes.setdefault(int(request.time // 60), Requests()).add(request.status, request.milliseconds)

    def _start(self, inode: int) -> None:
        self._minutes, self._inode, self._position, self._skipped = {}, inode, 0, 0.0

    def _forget_before(self, minute: int) -> None:
        for old in [each for each in self._minutes if each <= minute]:
            del self._minutes[old]


def logged_request(line: bytes) -> LoggedRequest | None:
    """The request for predictions of a line of the log; None for other lines, and for the checks before a deployment.

    Example:
        >>> logged_request(b"Traceback") is None
        True
    """
    if _REQUEST not in line or _PATH not in line:
        return None
    try:
        values = json.loads(line)
        if not str(values["path"]).endswith("/invocations") or str(values["request_id"]).startswith(PARITY_ID):
            return None
        time = datetime.fromisoformat(values["time"]).timestamp()
        return LoggedRequest(time, int(values.get("status", 0)), float(values["milliseconds"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _inode_and_size(log: BinaryIO) -> tuple[int, int]:
    found = os.fstat(log.fileno())
    return found.st_ino, found.st_size
