"""`Overview`: everything that can be seen from one backend and its folders, asked for as often as is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breedclf.backends.common.folder import home_folder
from breedclf.errors import ConfigError, JobError, ProfileError
from breedclf.jobs import Backend, JobDescription, JobRecord, MetricRecord, RecordingBackend
from breedclf.jobs.protocols import HomeBackend, LabeledBackend, PacedBackend, StampedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.model_store.store import ModelStore
from breedclf.overview.comparisons import Comparisons
from breedclf.overview.dataset_contents import Contents, ContentsReader
from breedclf.overview.dataset_findings import CheckFindings, Findings, ReviewFindings
from breedclf.overview.dataset_images import DatasetImages
from breedclf.overview.datasets import DatasetView, Uses, dataset_views
from breedclf.overview.endpoints import EndpointView, endpoint_view, endpoint_views
from breedclf.overview.folders import WatchedFolders
from breedclf.overview.jobs import JobView, job_view, job_views
from breedclf.overview.journeys import Journeys, JourneyView
from breedclf.overview.logs import LogView, log_end, log_part
from breedclf.overview.looks import LOCAL_PACE, Look, Looks, Pace, RecentStamps, Stamp
from breedclf.overview.models import ModelView, model_view, model_views
from breedclf.overview.profiles import Profiles, ProfileView, ReadProfile
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
from breedclf.overview.tasks import Tasks, TaskView
from breedclf.tuning.native import ListedTunings, NativeTuning

DEFAULT_RUNS = Path("runs")
_RUN_FILES = frozenset({"profile.json", "journey.json"})


@dataclass(frozen=True)
class Places:
    """Folders on this machine: searches are in `home`, journeys and reports in `runs`, models in `store`.

    `data` are datasets that are shown also if nothing uses them.
    """

    home: Path
    runs: Path
    store: Path
    data: tuple[Path, ...] = ()


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
    folder_looks: Looks = field(init=False)
    studies: Studies = field(default_factory=Studies, init=False)
    run_folders: WatchedFolders = field(init=False)
    recorded: Profiles = field(init=False)
    journeys_here: Journeys = field(init=False)

    findings: Findings = field(init=False)
    comparisons: Comparisons = field(init=False)
    images: DatasetImages = field(default_factory=DatasetImages)
    _uses: Uses = field(default_factory=Uses)
    _contents: ContentsReader = field(default_factory=ContentsReader)
    _tasks: Tasks = field(init=False)
    _stamps: RecentStamps = field(init=False)

    def __post_init__(self) -> None:
        pace = Pace.of_service(self.backend.poll_seconds) if isinstance(self.backend, PacedBackend) else LOCAL_PACE
        self.looks = Looks(pace, clock=self.clock)
        self.folder_looks = Looks(LOCAL_PACE, clock=self.clock)
        self.run_folders = WatchedFolders(self.places.runs, _RUN_FILES)
        self.journeys_here = Journeys(self.run_folders, self.places.runs)
        self.recorded = Profiles(self.backend, self.run_folders, self.places.runs)
        self.findings = Findings(self.places.home, self.places.runs)
        self.comparisons = Comparisons(self.places.runs)
        self._tasks = Tasks(self.places.home)
        self._stamps = RecentStamps(self.clock)

    @property
    def label(self) -> str:
        """What pages call the backend."""
        return self.backend.label if isinstance(self.backend, LabeledBackend) else self.backend.name

    def jobs(self) -> Look[tuple[JobView, ...]]:
        """All jobs, oldest first."""
        return self.looks.look("jobs", lambda: job_views(self.backend), self.stamp())

    def job(self, name: str) -> Look[JobView]:
        """One job; a damaged one is shown as such."""
        return self.looks.look(("job", name), lambda: job_view(self._description(name)), self.stamp(name))

    def job_record(self, name: str) -> Look[JobRecord]:
        """What a job was submitted with; no value on backends that don't store it."""
        backend = self.backend
        if not isinstance(backend, RecordingBackend):
            return Look(None, self.clock.time())
        return self.looks.look(("job-record", name), lambda: backend.record(name), self.stamp(name))

    def metrics(self, name: str) -> Look[list[MetricRecord]]:
        """What a job has reported so far, in order."""
        return self.looks.look(("metrics", name), lambda: self.backend.metric_history(name), self.stamp(name))

    def log(self, name: str) -> Look[LogView]:
        """The end of a job's log."""
        return self.looks.look(("log", name), lambda: log_end(self.backend, name), self.stamp(name))

    def log_part(self, name: str, position: int) -> Look[LogView]:
        """A part of a job's log, from a position."""
        return self.looks.look(("log", name, position), lambda: log_part(self.backend, name, position))

    def stamp(self, name: str | None = None) -> Stamp | None:
        """A cheap sign that a job, or the list of jobs, hasn't changed; None if the backend has none."""
        backend = self.backend
        return (lambda: self._stamps.of(name, backend.stamp)) if isinstance(backend, StampedBackend) else None

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

    def endpoints(self) -> Look[tuple[EndpointView, ...]]:
        """All endpoints, oldest first."""
        return self.looks.look("endpoints", lambda: endpoint_views(self.backend, self.places.store))

    def endpoint(self, name: str) -> Look[EndpointView]:
        """One endpoint, the requests of its last hour, and what it costs."""
        return self.looks.look(("endpoint", name), lambda: endpoint_view(self.backend, name, self.places.store))

    def profiles(self) -> Look[tuple[ProfileView, ...]]:
        """Recorded runs of jobs and of the folder of runs, newest first; without the jobs if they can't be listed."""
        jobs = [job.description for job in self.jobs().value or ()]
        return self.folder_looks.look("profiles", lambda: self.recorded.all(jobs))

    def profile(self, name: str) -> Look[ReadProfile]:
        """One recorded run, by its name in `profiles`."""
        return self.folder_looks.look(("profile", name), lambda: self._read_profile(name))

    def _read_profile(self, name: str) -> ReadProfile:
        job = None if "." in name else self.job(name).value
        if job is not None:
            view = self.recorded.of_job(job.description)
        else:
            view = next((each for each in self.recorded.of_runs() if each.name == name), None)
        if view is None:
            raise ProfileError(f"there is no profile {name}: it was deleted, or its job left none")
        return self.recorded.read(view)

    def models(self) -> Look[tuple[ModelView, ...]]:
        """All models of the store, by name."""
        return self.folder_looks.look("models", lambda: model_views(self._store))

    def model(self, name: str) -> Look[ModelView]:
        """One model of the store."""
        return self.folder_looks.look(("model", name), lambda: model_view(self._store, name))

    def datasets(self) -> Look[tuple[DatasetView, ...]]:
        """All datasets that something on this machine names."""
        return self.folder_looks.look("datasets", self._datasets)

    def dataset(self, key: str) -> DatasetView:
        """The dataset with this key.

        Raises:
            ConfigError: none is known.
        """
        found = next((each for each in self.datasets().value or () if each.key == key), None)
        if found is None:
            raise ConfigError(f"no dataset {key}: nothing names it any more; `breedclf console --data DIR` adds one")
        return found

    def contents(self, dataset: DatasetView) -> Look[Contents]:
        """What is in the folder of a dataset."""
        return self.folder_looks.look(("contents", dataset.path), lambda: self._contents.of(dataset.path))

    def tasks(self) -> Look[tuple[TaskView, ...]]:
        """The commands that consoles of this home have started, the latest first."""
        return self.folder_looks.look("tasks", self._tasks.all)

    def check_of(self, dataset: DatasetView) -> CheckFindings | None:
        """The latest check of a dataset."""
        return self.findings.check(dataset.path, self.tasks().value or (), self.journeys().value or ())

    def review_of(self, dataset: DatasetView) -> ReviewFindings | None:
        """The latest review of a dataset."""
        return self.findings.review(dataset.path, dataset.key)

    def forget(self) -> None:
        """Let the next looks ask, as after an action."""
        self.looks.forget()
        self.folder_looks.forget()

    @property
    def _store(self) -> ModelStore:
        return ModelStore(self.places.store)

    def _datasets(self) -> tuple[DatasetView, ...]:
        journeys, models = self.journeys().value or (), self.models().value or ()
        return dataset_views(self._uses.of(self.places.home, journeys, models, self.places.data))

    def journeys(self) -> Look[tuple[JourneyView, ...]]:
        """Journeys in the folder of runs, those that changed last first."""
        return self.folder_looks.look("journeys", self.journeys_here.all)

    def journey(self, name: str) -> Look[JourneyView]:
        """One journey, by its name in `journeys`."""
        return self.folder_looks.look(("journey", name), lambda: self._read_journey(name))

    def _read_journey(self, name: str) -> JourneyView:
        view = self.journeys_here.one(name)
        if view is None:
            raise ConfigError(f"there is no journey {name} in {self.places.runs}")
        return view

    def _description(self, name: str) -> JobDescription:
        try:
            return self.backend.describe(name)
        except JobError:
            for job in self.jobs().value or ():
                if job.name == name and job.is_damaged:
                    return job.description
            raise


def places_of(backend: Backend, *, home: Path | None, runs: Path, store: Path, data: Sequence[Path] = ()) -> Places:
    """The folders of a backend: `home`, or the backend's own, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return Places(home_folder(home), runs, store, tuple(data))
