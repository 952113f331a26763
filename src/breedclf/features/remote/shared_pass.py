"""A pass over images that several jobs share: each image is fetched from S3, or computed by one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.features.remote.bucket import S3Failure
from breedclf.features.remote.lease import Holder, Lease, LeaseTimes
from breedclf.features.remote.remote_set import RemoteSet, rows_per_segment
from breedclf.features.remote.segments import RowLayout

_PART_IMAGES = 4096
_PARTS = 16

log: logging.Logger = logging.getLogger(__name__)


class LocalSet(Protocol):
    """The same set in the store on this machine."""

    def find(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]: ...

    def read(self, locations: NDArray[np.int64]) -> torch.Tensor: ...

    def append(self, digests: NDArray[np.uint8], values: torch.Tensor) -> object: ...


Compute = Callable[[NDArray[np.int64], Callable[[NDArray[np.uint8]], None]], None]
"""Computes the images at these positions, and calls its second argument with the digests of what it has appended."""


@dataclass(frozen=True)
class PassTimes:
    """Seconds between uploads, between looks at what others do, and between log lines while waiting."""

    upload: float = 120.0
    wait: float = 10.0
    log: float = 30.0
    lease: LeaseTimes = field(default_factory=LeaseTimes)


class _LeaseLost(Exception):  # noqa: N818 - caught below
    """Another job computes this part now."""


def parts_of(digests: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    """Positions of images by the name of their part: jobs with the same images make the same parts.

    A large set has several, by the first digits of digests, so that jobs can work on it at the same time.

    Example:
        >>> {name: part.tolist() for name, part in parts_of(np.zeros((3, 16), np.uint8)).items()}
        {'1-0': [0, 1, 2]}
    """
    count = _PARTS if len(digests) >= _PART_IMAGES else 1
    numbers = digests[:, 0].astype(np.int64) * count // 256
    return {f"{count}-{number:x}": np.flatnonzero(numbers == number) for number in range(count)}


class SharedPass:
    """One pass: fetches what S3 has, computes under leases what nobody else computes, and uploads it.

    A request that fails never ends the pass: it is logged, and the images are computed here.

    Args:
        remote: the set in S3.
        local: the set on this machine, which has every row at the end.
        digests: uint8 [N, 16] of the images.
        compute: computes images.
        take: takes the lease of a part by its name; returns it, who holds it, or None if there are no leases.
        times: how often to do what.
        on_wait: called while other jobs compute, with the number of images that are there; its exceptions end the pass.
    """

    def __init__(
        self,
        remote: RemoteSet,
        local: LocalSet,
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
            log.warning("%s; this job computes the missing features itself and keeps them on this machine", failure)
            self._compute(self._missing(np.arange(len(self._digests))), None)
        finally:
            self._upload_safely()

    def _share(self) -> None:
        everything = np.arange(len(self._digests))
        self._remote.refresh()
        missing = self._fetch(everything)
        here = np.setdiff1d(everything, missing)
        self._pending.append(self._digests[here[self._remote.find(self._digests[here]) < 0]])
        parts = {name: part for name, part in parts_of(self._digests).items() if len(np.intersect1d(part, missing))}
        while parts:
            done, holder = self._work(parts)
            parts = {name: part for name, part in parts.items() if name not in done}
            if parts and not done:
                parts = self._await(parts, holder)

    def _work(self, parts: dict[str, NDArray[np.int64]]) -> tuple[set[str], str]:
        """Compute every part that is free; returns the names of those that are done, and who holds another."""
        done: set[str] = set()
        holder = ""
        for name, part in parts.items():
            lease = self._take(name)
            if isinstance(lease, Holder):
                holder = lease.name
                continue
            if lease is None:
                self._compute(self._missing(part), None)
                done.add(name)
                continue
            with lease:
                self._remote.refresh()
                try:
                    self._compute(self._fetch(part), lease)
                    done.add(name)
                except _LeaseLost:
                    log.warning("another job has taken over images of this one, which was suspended or offline")
                finally:
                    self._upload_safely()
        return done, holder

    def _await(self, parts: dict[str, NDArray[np.int64]], holder: str) -> dict[str, NDArray[np.int64]]:
        """Wait a while, and fetch what others have uploaded; returns the parts that aren't complete."""
        self._sleep(self._times.wait)
        self._remote.refresh()
        missing = self._fetch(np.concatenate(list(parts.values())))
        count = len(self._digests)
        if self._clock() - self._logged_at >= self._times.log:
            self._logged_at = self._clock()
            log.info("waiting for %s, which computes features: %d of %d are there", holder, count - len(missing), count)
        self._on_wait(count - len(missing))
        return {name: part for name, part in parts.items() if len(np.intersect1d(part, missing))}

    def _missing(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the positions whose rows aren't on this machine."""
        return positions[np.asarray(self._local.find(self._digests[positions])) < 0]

    def _fetch(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fetch missing rows from S3; returns the positions of those that are still missing."""
        missing = self._missing(positions)
        if not len(missing) or not self._remote.fetch(self._digests[missing], self._local.append):
            return missing
        return self._missing(missing)

    def _compute(self, positions: NDArray[np.int64], lease: Lease | None) -> None:
        def appended(digests: NDArray[np.uint8]) -> None:
            self._pending.append(digests)
            if lease is not None:
                lease.progressed()
                if lease.is_lost:
                    raise _LeaseLost
            if self._clock() - self._uploaded_at >= self._times.upload:
                self._upload_safely()

        if len(positions):
            self._compute_images(positions, appended)

    def _upload_safely(self) -> None:
        try:
            self._upload()
        except S3Failure as failure:
            log.warning("%s; the features stay on this machine", failure)
        self._uploaded_at = self._clock()

    def _upload(self) -> None:
        if not any(len(each) for each in self._pending):
            return
        digests = np.unique(np.concatenate(self._pending), axis=0)
        digests = digests[self._remote.find(digests) < 0]
        locations = np.asarray(self._local.find(digests))
        digests, locations = digests[locations >= 0], locations[locations >= 0]
        if len(digests):
            at_once = rows_per_segment(RowLayout.of(self._local.read(locations[:1])))
            parts = (self._local.read(locations[at : at + at_once]) for at in range(0, len(locations), at_once))
            self._remote.add(digests, parts, at_once)
        self._pending.clear()
