"""`Overview`: everything that can be seen from one backend and its folders, asked for as often as is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from breedclf.backends.common.folder import home_folder
from breedclf.errors import ConfigError
from breedclf.jobs import Backend, JobDescription, MetricRecord
from breedclf.jobs.protocols import HomeBackend, PacedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.model_store.store import ModelStore
from breedclf.overview.comparisons import Comparisons
from breedclf.overview.dataset_contents import Contents, ContentsReader
from breedclf.overview.dataset_findings import Findings
from breedclf.overview.dataset_images import DatasetImages
from breedclf.overview.datasets import DatasetView, Uses, dataset_views
from breedclf.overview.jobs import JobView, job_view, job_views
from breedclf.overview.looks import LOCAL_PACE, SERVICE_PACE, Look, Looks
from breedclf.overview.models import ModelView, model_view, model_views
from breedclf.overview.tasks import Tasks, TaskView

DEFAULT_RUNS = Path("runs")


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

    A service is asked at most four times a minute in all, a backend on this machine whenever its last answer is older
    than 0.4 seconds.
    """

    backend: Backend
    places: Places
    clock: Clock = SYSTEM_CLOCK
    looks: Looks = field(init=False)
    folder_looks: Looks = field(init=False)
    findings: Findings = field(init=False)
    comparisons: Comparisons = field(init=False)
    images: DatasetImages = field(default_factory=DatasetImages)
    _uses: Uses = field(default_factory=Uses)
    _contents: ContentsReader = field(default_factory=ContentsReader)
    _tasks: Tasks = field(init=False)

    def __post_init__(self) -> None:
        paced = isinstance(self.backend, PacedBackend)
        self.looks = Looks(SERVICE_PACE if paced else LOCAL_PACE, clock=self.clock)
        self.folder_looks = Looks(LOCAL_PACE, clock=self.clock)
        self.findings = Findings(self.places.home, self.places.runs)
        self.comparisons = Comparisons(self.places.runs)
        self._tasks = Tasks(self.places.home)

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

    def forget(self) -> None:
        """Let the next looks ask, as after an action."""
        self.looks.forget()
        self.folder_looks.forget()

    @property
    def _store(self) -> ModelStore:
        return ModelStore(self.places.store)

    def _datasets(self) -> tuple[DatasetView, ...]:
        places, models = self.places, self.models().value or ()
        return dataset_views(self._uses.of(places.home, places.runs, models, places.data))

    def _description(self, name: str) -> JobDescription:
        return self.backend.describe(name)


def places_of(backend: Backend, *, home: Path | None, runs: Path, store: Path, data: Sequence[Path] = ()) -> Places:
    """The folders of a backend: `home`, or the backend's own, or the default one."""
    if home is None and isinstance(backend, HomeBackend):
        home = backend.home
    return Places(home_folder(home), runs, store, tuple(data))
