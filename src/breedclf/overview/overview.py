"""`Overview`: everything that can be seen from one backend and its folders, asked for as often as is right."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breedclf.backends.common.folder import home_folder
from breedclf.jobs import Backend, JobDescription, MetricRecord
from breedclf.jobs.protocols import HomeBackend, PacedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.overview.jobs import JobView, job_view, job_views
from breedclf.overview.looks import LOCAL_PACE, SERVICE_PACE, Look, Looks
from breedclf.overview.searches import (
    SearchView,
    asked_search,
    is_run_by_itself,
    listed_searches,
    stored_search,
    stored_searches,
    with_listed,
)
from breedclf.overview.studies import Studies, StudyHome, study_homes
from breedclf.tuning.native import ListedTunings, NativeTuning

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

    A service is asked at most four times a minute in all, a backend on this machine whenever its last answer is older
    than 0.4 seconds.
    """

    backend: Backend
    places: Places
    clock: Clock = SYSTEM_CLOCK
    looks: Looks = field(init=False)
    folder_looks: Looks = field(init=False)
    studies: Studies = field(default_factory=Studies, init=False)

    def __post_init__(self) -> None:
        paced = isinstance(self.backend, PacedBackend)
        self.looks = Looks(SERVICE_PACE if paced else LOCAL_PACE, clock=self.clock)
        self.folder_looks = Looks(LOCAL_PACE, clock=self.clock)

    def jobs(self) -> Look[tuple[JobView, ...]]:
        """All jobs, oldest first."""
        return self.looks.look("jobs", lambda: job_views(self.backend))

    def job(self, name: str) -> Look[JobView]:
        """One job."""
        return self.looks.look(("job", name), lambda: job_view(self._description(name)))

    def metrics(self, name: str) -> Look[list[MetricRecord]]:
        """What a job has reported so far, in order."""
        return self.looks.look(("metrics", name), lambda: self.backend.metric_history(name))

    def log(self, name: str) -> Look[str]:
        """The end of a job's log."""
        return self.looks.look(("log", name), lambda: self.backend.read_log(name)[0])

    def stored_searches(self) -> Look[tuple[SearchView, ...]]:
        """The searches in folders of this machine, oldest first."""
        return self.folder_looks.look("searches", self._stored_searches)

    def searches(self) -> Look[tuple[SearchView, ...]]:
        """All searches, oldest first; without those that only the backend knows, if it can't be asked."""
        stored = self.stored_searches()
        if not isinstance(self.backend, ListedTunings):
            return stored
        listed: Look[Any] = self.looks.look("tunings", lambda: listed_searches(self.backend))
        return replace(listed, value=with_listed(stored.value or (), listed.value or (), self.backend.name))

    def search(self, name: str) -> Look[SearchView]:
        """One search; one that the backend runs as a whole is asked for there."""
        look: Look[Any] = self.folder_looks.look(
            ("search", name), lambda: stored_search(self.backend, self._homes(), self.studies, name)
        )
        stored: SearchView | None = look.value
        if stored is not None and (not stored.is_active or not is_run_by_itself(stored, self.backend)):
            return look
        if stored is None and not isinstance(self.backend, NativeTuning):
            where = f"{self.places.home} or the journeys of {self.places.runs}"
            return replace(look, value=None, problem=f"no search {name!r} in {where}")
        asked: Look[Any] = self.looks.look(("search", name), lambda: asked_search(self.backend, name, stored))
        return asked if asked.value is not None or stored is None else replace(asked, value=stored)

    def _stored_searches(self) -> tuple[SearchView, ...]:
        return stored_searches(self.backend, self._homes(), self.studies)

    def _homes(self) -> list[StudyHome]:
        return study_homes(self.places.home, self.places.runs)

    def _description(self, name: str) -> JobDescription:
        return self.backend.describe(name)


def places_of(backend: Backend, *, home: Path | None, runs: Path, store: Path) -> Places:
    """The folders of a backend: `home`, or the backend's own, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return Places(home_folder(home), runs, store)
