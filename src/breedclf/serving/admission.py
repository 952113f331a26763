"""Admission: which images a server accepts while more come than it answers, and when the others may come again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from breedclf.serving.core import BusyError

MAX_RETRY_SECONDS = 30
_MANY_REFUSED, _FEW_REFUSED = 0.2, 0.1  # for each answered image


class Admission:
    """Counts pending images, and measures how many are answered per second.

    Up to `most` images are pending. While requests are refused, which costs time, an image is only admitted if its
    predicted wait (what is pending, at the measured rate) is at most that of a full queue at the rate before, or if
    less than seven eighths of `most` are pending: fewer would leave the network idle between two batches.

    Refused clients may come again after the predicted wait, or after several times as long while more than one is
    refused for five answers, so that refusals cost little.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._pending = 0
        self._since = clock()
        self._answered = 0
        self._refused = 0
        self._is_overloaded = False
        self._seconds_each = 0.05
        self._usual_seconds_each: float | None = None
        self._patience = 1

    @property
    def limit(self) -> int:
        """The number of images that may be pending now."""
        if not self._is_overloaded or self._usual_seconds_each is None:
            return self._most
        in_usual_wait = math.floor(self._most * self._usual_seconds_each / self._seconds_each)
        return max(math.ceil(self._most * 7 / 8), min(in_usual_wait, self._most))

    @property
    def retry_seconds(self) -> int:
        """Seconds after which a refused client may come again, from 1 to `MAX_RETRY_SECONDS`."""
        return max(1, min(MAX_RETRY_SECONDS, math.ceil(self._pending * self._seconds_each * self._patience)))

    def require_capacity(self, *, held: int = 0) -> None:
        """Check that there is capacity for one more request; `held` is the number of its own admitted images.

        Raises:
            BusyError: too many other images are pending.
        """
        if self._pending - held < self.limit:
            return
        self._refused += 1
        self._is_overloaded = True
        seconds = self.retry_seconds
        raise BusyError("Overloaded", f"{self._pending} images are waiting; try again in {seconds} s", seconds)

    def admit(self, images: int, *, held: int = 0) -> None:
        """Admit more images of a request that already has `held`; call `release` when they are done.

        Raises:
            BusyError: too many other images are pending.
        """
        self.require_capacity(held=held)
        if not self._pending:
            self._begin(is_overloaded=False)
        self._pending += images

    def answered(self, images: int) -> None:
        """Count images that were predicted."""
        self._answered += images
        if self._answered >= self._most:
            self._measure()

    def release(self, images: int) -> None:
        """Release the capacity of admitted images."""
        self._pending -= images
        if not self._pending and self._answered:
            self._measure()

    def _measure(self) -> None:
        seconds_each, refused_share = (self._clock() - self._since) / self._answered, self._refused / self._answered
        self._seconds_each += 0.5 * (seconds_each - self._seconds_each)
        if not self._refused:
            usual = self._usual_seconds_each or seconds_each
            self._usual_seconds_each = usual + 0.2 * (seconds_each - usual)
        if refused_share > _MANY_REFUSED:
            self._patience = min(2 * self._patience, MAX_RETRY_SECONDS)
        elif refused_share < _FEW_REFUSED:
            self._patience = max(1, self._patience // 2)
        self._begin(is_overloaded=self._refused > 0)

    def _begin(self, *, is_overloaded: bool) -> None:
        self._is_overloaded = is_overloaded
        self._since, self._answered, self._refused = self._clock(), 0, 0
