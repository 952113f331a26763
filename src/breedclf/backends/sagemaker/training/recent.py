"""Jobs that this process submitted: AWS is eventually consistent and may not find them for some seconds."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from breedclf.jobs.handle import Clock

CONSISTENT_SECONDS = 60.0


@dataclass
class RecentJobs:
    """Names of recently submitted jobs until DescribeTrainingJob or Search knows them."""

    clock: Clock
    _undescribed: dict[str, float] = field(default_factory=dict)
    _unlisted: dict[str, float] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Register a job that was just submitted."""
        self._undescribed[name] = self._unlisted[name] = self.clock.monotonic()

    def forget(self, name: str) -> None:
        """Drop a job."""
        self._undescribed.pop(name, None)
        self._unlisted.pop(name, None)

    def described(self, name: str) -> None:
        """DescribeTrainingJob knows the job."""
        self._undescribed.pop(name, None)

    def may_appear(self, name: str) -> bool:
        """Whether DescribeTrainingJob may not know the job yet."""
        return self._is_recent(self._undescribed.get(name))

    def unlisted(self, listed: Set[str]) -> list[str]:
        """The recent jobs that Search doesn't list yet."""
        self._unlisted = {
            name: submitted
            for name, submitted in self._unlisted.items()
            if name not in listed and self._is_recent(submitted)
        }
        return list(self._unlisted)

    def _is_recent(self, submitted: float | None) -> bool:
        return submitted is not None and self.clock.monotonic() - submitted < CONSISTENT_SECONDS
