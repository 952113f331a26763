"""Leases in S3: of several jobs one computes a part, and another takes over when it dies."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from breedclf.features.remote.bucket import Bucket, S3Failure

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTimes:
    """How long leases are valid, in seconds.

    Args:
        valid: a lease that its holder hasn't renewed for this long is taken over.
        renewal: between renewals.
        stalled: a holder that has computed nothing for this long doesn't renew any more.
    """

    valid: float = 60.0
    renewal: float = 15.0
    stalled: float = 900.0


@dataclass(frozen=True)
class Holder:
    """What a lease says: who holds it (a name for people, and a unique one), how often it was renewed, and its end."""

    name: str
    writer: str
    renewals: int = 0
    is_released: bool = False

    def to_bytes(self) -> bytes:
        """The holder as JSON."""
        return json.dumps(self.__dict__).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """Read the result of `to_bytes`; None if it is anything else."""
        try:
            found = json.loads(content)
            return cls(str(found["name"]), str(found["writer"]), int(found["renewals"]), bool(found["is_released"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass
class Lease:
    """A lease that this process holds; a thread renews it within the block.

    `is_lost`: another process has it, or it couldn't be renewed in time.
    """

    bucket: Bucket
    name: str
    holder: Holder
    etag: str
    times: LeaseTimes
    clock: Callable[[], float] = time.monotonic
    is_lost: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed: float = 0.0
    _progress: float = 0.0
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._renewed = self._progress = self.clock()
        self._thread = threading.Thread(target=self._renew_until_end, name=f"lease {self.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if not self.is_lost:
            self._write(is_released=True)

    def progressed(self) -> None:
        """Report that the holder is working."""
        self._progress = self.clock()

    def _renew_until_end(self) -> None:
        while not self._ended.wait(self.times.renewal) and not self.is_lost:
            if self.clock() - self._progress > self.times.stalled:
                log.warning(
                    "no image was computed for %.0f s; other jobs may take over %s", self.times.stalled, self.name
                )
                self.is_lost = True
            elif self._write():
                self._renewed = self.clock()
            elif self.clock() - self._renewed > self.times.valid:
                self.is_lost = True

    def _write(self, is_released: bool = False) -> bool:
        """Renew or release it; returns whether S3 has it now."""
        holder = Holder(self.holder.name, self.holder.writer, self.holder.renewals + 1, is_released)
        try:
            written = self.bucket.put_if(self.name, holder.to_bytes(), self.etag)
            if written is None:
                self._adopt()
                return not self.is_lost
        except S3Failure as failure:
            log.warning("%s", failure)
            return False
        self.holder, self.etag = holder, written
        return True

    def _adopt(self) -> None:
        """After a conflict: a repeated request may have conflicted with itself; otherwise another process has it."""
        found = self.bucket.get(self.name)
        holder = None if found is None else Holder.from_bytes(found.body)
        if found is None or holder is None or holder.writer != self.holder.writer:
            self.is_lost = True
            return
        self.holder, self.etag = holder, found.etag


def take(bucket: Bucket, name: str, holder: Holder, times: LeaseTimes) -> Lease | Holder:
    """Take a lease that nobody holds: a new one, a released one, or one that wasn't renewed in time.

    Ages are by S3's clock, so clocks of machines may differ.

    Returns:
        The lease, or who holds it.

    Raises:
        NoConditionsFailure: the service doesn't support conditional writes.
        S3Failure: a request fails.
    """
    etag = bucket.put_if(name, holder.to_bytes(), None)
    if etag is not None:
        return Lease(bucket, name, holder, etag, times)
    found = bucket.get(name)
    if found is None:
        return Holder("another job", "")
    present = Holder.from_bytes(found.body)
    if present is not None and present.writer == holder.writer and not present.is_released:
        return Lease(bucket, name, present, found.etag, times)  # the response to our own request was lost
    is_free = present is None or present.is_released
    if not is_free and found.age_seconds <= times.valid:
        return present or Holder("another job", "")
    if present is not None and not present.is_released:
        log.warning(
            "%s has not renewed its lease for %.0f s, so this job takes over its images",
            present.name,
            found.age_seconds,
        )
    etag = bucket.put_if(name, holder.to_bytes(), found.etag)
    return present or Holder("another job", "") if etag is None else Lease(bucket, name, holder, etag, times)
