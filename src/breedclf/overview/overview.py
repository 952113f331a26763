"""`Overview`: everything that can be seen from one backend and its folders, asked for as often as is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from breedclf.backends.common.folder import home_folder
from breedclf.errors import ConfigError, ProfileError
from breedclf.jobs import Backend, JobDescription, MetricRecord
from breedclf.jobs.protocols import HomeBackend, PacedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.overview.folders import WatchedFolders
from breedclf.overview.jobs import JobView, job_view, job_views
from breedclf.overview.journeys import Journeys, JourneyView
from breedclf.overview.looks import LOCAL_PACE, SERVICE_PACE, Look, Looks
from breedclf.overview.profiles import Profiles, ProfileView, ReadProfile

DEFAULT_RUNS = Path("runs")
_RUN_FILES = frozenset({"profile.json", "journey.json"})


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
    run_folders: WatchedFolders = field(init=False)
    recorded: Profiles = field(init=False)
    journeys_here: Journeys = field(init=False)

    def __post_init__(self) -> None:
        self.folder_looks = Looks(LOCAL_PACE, clock=self.clock)
        self.run_folders = WatchedFolders(self.places.runs, _RUN_FILES)
        self.journeys_here = Journeys(self.run_folders, self.places.runs)
        self.recorded = Profiles(self.backend, self.run_folders, self.places.runs)
        paced = isinstance(self.backend, PacedBackend)
        self.looks = Looks(SERVICE_PACE if paced else LOCAL_PACE, clock=self.clock)

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
        return self.backend.describe(name)


def places_of(backend: Backend, *, home: Path | None, runs: Path, store: Path) -> Places:
    """The folders of a backend: `home`, or the backend's own, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return Places(home_folder(home), runs, store)
