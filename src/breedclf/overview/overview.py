"""`Overview`: everything that can be seen from one backend and its folders, asked for as often as is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from breedclf.backends.common.folder import home_folder
from breedclf.jobs import Backend, JobDescription, MetricRecord
from breedclf.jobs.protocols import HomeBackend, LabeledBackend, PacedBackend, StampedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.overview.jobs import JobView, job_view, job_views
from breedclf.overview.looks import LOCAL_PACE, Look, Looks, Pace, Stamp

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class Places:
    """Folders on this machine: searches are in `home`, journeys and reports in `runs`, models in `store`."""

    home: Path
    runs: Path
    store: Path


@dataclass
class Overview:
    """What is on a backend and in its folders; each method returns its latest look.

    A service is asked at its own pace, SageMaker at most four times a minute in all; a backend on this machine whenever
    its last answer is older than 0.4 seconds.
    """

    backend: Backend
    places: Places
    clock: Clock = SYSTEM_CLOCK
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        pace = Pace.of_service(self.backend.poll_seconds) if isinstance(self.backend, PacedBackend) else LOCAL_PACE
        self.looks = Looks(pace, clock=self.clock)

    @property
    def label(self) -> str:
        """What pages call the backend."""
        return self.backend.label if isinstance(self.backend, LabeledBackend) else self.backend.name

    def jobs(self) -> Look[tuple[JobView, ...]]:
        """All jobs, oldest first."""
        return self.looks.look("jobs", lambda: job_views(self.backend), self.stamp())

    def job(self, name: str) -> Look[JobView]:
        """One job."""
        return self.looks.look(("job", name), lambda: job_view(self._description(name)), self.stamp(name))

    def metrics(self, name: str) -> Look[list[MetricRecord]]:
        """What a job has reported so far, in order."""
        return self.looks.look(("metrics", name), lambda: self.backend.metric_history(name), self.stamp(name))

    def log(self, name: str) -> Look[str]:
        """The end of a job's log."""
        return self.looks.look(("log", name), lambda: self.backend.read_log(name)[0], self.stamp(name))

    def stamp(self, name: str | None = None) -> Stamp | None:
        """A cheap sign that a job, or the list of jobs, hasn't changed; None if the backend has none."""
        backend = self.backend
        return (lambda: backend.stamp(name)) if isinstance(backend, StampedBackend) else None

    def _description(self, name: str) -> JobDescription:
        return self.backend.describe(name)


def places_of(backend: Backend, *, home: Path | None, runs: Path, store: Path) -> Places:
    """The folders of a backend: `home`, or the backend's own, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return Places(home_folder(home), runs, store)
