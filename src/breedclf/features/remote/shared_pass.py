"""A pass over images that several jobs share: each image is fetched from S3, or computed by one of them."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from breedclf.features.remote.bucket import S3Failure
from breedclf.features.remote.lease import Holder, Lease, LeaseTimes
from breedclf.features.remote.remote_set import RemoteSet, rows_per_segment
from breedclf.features.store_access import StoreAccess

_PART_IMAGES = 8192
_MAX_PARTS = 16

Parts = dict[str, NDArray[np.int64]]
"""Positions of images by the name of their part."""

log: logging.Logger = logging.getLogger(__name__)


class Compute(Protocol):
    """Computes images and appends their features to the set on this machine."""

    def __call__(
        self, positions: NDArray[np.int64], left: int, on_append: Callable[[NDArray[np.uint8]], bool], /
    ) -> None:
        """Compute the images at these positions, int64 [N]; `left` others are missing besides.

        `on_append` is called with the digests of what was appended, uint8 [M, 16], and returns whether to go on.
        """
        ...


@dataclass(frozen=True)
class PassTimes:
    """Seconds between uploads, between looks at what other jobs do (fewer at first), and between lines of the log."""

    upload: float = 60.0
    first_wait: float = 1.0
    wait: float = 10.0
    log: float = 30.0
    lease: LeaseTimes = field(default_factory=LeaseTimes)


def parts_of(digests: NDArray[np.uint8]) -> Parts:
    """The parts of a pass: jobs with the same images make the same ones, and jobs with other images others.

    A large set has several, by the first byte of digests, so that jobs work on it at the same time.

    Example:
        >>> {name: part.tolist() for name, part in parts_of(np.zeros((3, 16), np.uint8)).items()}
        {'5250a507f994740e': [0, 1, 2]}
    """
    count = min(_MAX_PARTS, 1 << max(0, (len(digests) // _PART_IMAGES).bit_length() - 1))
    numbers = digests[:, 0].astype(np.int64) * count // 256
    parts = [np.flatnonzero(numbers == number) for number in range(count)]
    return {_name_of(digests[part]): part for part in parts}


def _name_of(digests: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.unique(digests, axis=0).tobytes(), digest_size=8).hexdigest()


class SharedPass:
    """One pass: fetches what S3 has, computes under leases what nobody else computes, and uploads it.

    A request that fails never ends the pass: it is logged, and the images are computed here.

    Args:
        remote: the set in S3.
        local: the set on this machine, which has the features of all readable images at the end.
        digests: uint8 [N, 16] of the images, each once.
        compute: computes images.
        take: takes the lease of a part by its name; returns it, who holds it, or None if there are no leases.
        times: how often to do what.
        on_wait: called while other jobs compute, with the number of images that are there; its exceptions end the pass.
    """

    def __init__(
        self,
        remote: RemoteSet,
        local: StoreAccess,
        digests: NDArray[np.uint8],
        compute: Compute,
        take: Callable[[str], Lease | Holder | None],
        *,
        times: PassTimes,
        on_wait: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._remote, self._local, self._digests = remote, local, digests
        self._compute_images, self._take, self._times = compute, take, times
        self._on_wait, self._clock, self._sleep = on_wait, clock, sleep
        self._left: Parts = {"": np.arange(len(digests))}
        self._pending: list[NDArray[np.uint8]] = []
        self._uploaded_at = self._logged_at = clock()

    def run(self) -> None:
        """Run the pass.

        Raises:
            BaseException: what `compute` or `on_wait` raises; what was computed before is uploaded.
        """
        try:
            self._share()
        except S3Failure as failure:
            log.warning("%s; this job computes the missing features itself, and they stay on this machine", failure)
            self._left = {"": self._missing(np.concatenate(list(self._left.values())))}
            self._compute(self._left[""], None)
        finally:
            self._upload_safely()

    def _share(self) -> None:
        everything = self._left[""]
        self._remote.refresh()
        missing = self._fetch(everything)
        here = self._digests[np.setdiff1d(everything, missing)]
        self._pending.append(here[self._remote.find(here) < 0])
        self._left = _some(parts_of(self._digests), missing)
        seconds = self._times.first_wait
        while self._left:
            holder = self._work()
            if holder is not None:
                self._await(holder, seconds)
                seconds = min(2 * seconds, self._times.wait)

    def _work(self) -> Holder | None:
        """Compute the parts that are free; returns who holds one of the others if none was."""
        holder = None
        for name in list(self._left):
            lease = self._take(name)
            if isinstance(lease, Holder):
                holder = holder or lease
            elif lease is None:
                self._compute(self._left[name], None)
                del self._left[name]
            else:
                with lease:
                    self._compute_part(name, lease)
        return holder if self._left and holder is not None else None

    def _compute_part(self, name: str, lease: Lease) -> None:
        """Compute what the last holder of a part hasn't uploaded."""
        self._remote.refresh()
        self._left[name] = self._fetch(self._left[name])
        try:
            self._compute(self._left[name], lease)
        finally:
            self._upload_safely()
        if lease.is_lost:
            log.warning("another job computes images of this job now, which couldn't renew its lease in time")
        else:
            del self._left[name]

    def _await(self, holder: Holder, seconds: float) -> None:
        """Wait a while, and fetch what others have uploaded."""
        self._sleep(seconds)
        self._remote.refresh()
        self._left = _some(self._left, self._fetch(np.concatenate(list(self._left.values()))))
        count, done = len(self._digests), self._done()
        if self._clock() - self._logged_at >= self._times.log:
            self._logged_at = self._clock()
            log.info("waiting for %s, which computes features: %d of %d are there", holder.name, done, count)
        self._on_wait(done)

    def _done(self) -> int:
        return len(self._digests) - sum(map(len, self._left.values()))

    def _missing(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the positions whose features aren't on this machine."""
        return positions[~self._local.find(self._digests[positions]).found]

    def _fetch(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fetch missing features from S3; returns the positions of those that are still missing."""
        missing = self._missing(positions)
        if self._remote.fetch(self._digests[missing], self._local.append):
            return self._missing(missing)
        return missing

    def _compute(self, positions: NDArray[np.int64], lease: Lease | None) -> None:
        def on_append(digests: NDArray[np.uint8]) -> bool:
            self._pending.append(digests)
            if self._clock() - self._uploaded_at >= self._times.upload:
                self._upload_safely()
            if lease is not None:
                lease.progressed()
            return lease is None or not lease.is_lost

        if len(positions):
            self._compute_images(positions, len(self._digests) - self._done() - len(positions), on_append)

    def _upload_safely(self) -> None:
        try:
            self._upload()
        except (S3Failure, OSError) as failure:
            log.warning("%s; the features stay on this machine", failure)
        self._uploaded_at = self._clock()

    def _upload(self) -> None:
        digests = np.concatenate(self._pending) if self._pending else self._digests[:0]
        digests = np.unique(digests[self._remote.find(digests) < 0], axis=0)
        rows = self._local.find(digests)
        digests, rows = digests[rows.found], rows.of(rows.found)
        if len(digests) and (reader := self._local.reader) is not None:
            at_once = rows_per_segment(reader.row_type)
            starts = range(0, len(digests), at_once)
            parts = (reader.read(rows.of(np.arange(at, min(at + at_once, len(digests))))) for at in starts)
            self._remote.add(digests, parts, at_once)
        self._pending.clear()


def _some(parts: Parts, missing: NDArray[np.int64]) -> Parts:
    """The missing images of each part that isn't complete."""
    left = {name: np.intersect1d(part, missing) for name, part in parts.items()}
    return {name: part for name, part in left.items() if len(part)}
