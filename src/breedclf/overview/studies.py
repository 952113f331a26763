"""The states of searches in folders of this machine, each read again only when its file has changed."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from breedclf.api.search_setup import STUDIES
from breedclf.errors import BreedclfError
from breedclf.files.file_stat import FileStat
from breedclf.overview.folders import key_of
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import Trial

_NOT_FINITE = "its objective isn't a finite number, so it isn't ranked"

AnyTrial = TypeVar("AnyTrial", bound=Trial)


@dataclass(frozen=True)
class StudyHome:
    """A folder with searches below it: a home, or the output of a journey of this name, with the key of its page."""

    path: Path
    journey: str = ""
    journey_key: str = ""

    def folder(self, name: str) -> StudyFolder:
        """The folder of a search."""
        return StudyFolder(self.path / STUDIES / name)


@dataclass(frozen=True)
class ReadStudy:
    """The state of a search, or why it can't be read."""

    study: Study | None
    problem: str = ""


@dataclass
class Studies:
    """Reads states; those of unchanged files are kept."""

    _known: dict[Path, tuple[FileStat, ReadStudy]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def folders(self, home: StudyHome) -> Iterator[StudyFolder]:
        """The folders of a home that may hold a search, by name."""
        try:
            names = sorted(entry.name for entry in os.scandir(home.path / STUDIES))
        except OSError:
            return
        for name in names:
            yield home.folder(name)

    def read(self, folder: StudyFolder) -> ReadStudy:
        """The state of a search."""
        try:
            stat = folder.file.stat()
        except OSError as error:
            return ReadStudy(None, f"{folder.file} can't be read: {error.strerror}")
        stamp = FileStat.of(stat)
        with self._lock:
            known = self._known.get(folder.file)
        if known is not None and known[0] == stamp:
            return known[1]
        found = _read(folder)
        with self._lock:
            self._known[folder.file] = stamp, found
        return found

    def keep_only(self, files: Iterable[Path]) -> None:
        """Forget the states of other files, whose searches were deleted."""
        kept = set(files)
        with self._lock:
            for file in [each for each in self._known if each not in kept]:
                del self._known[file]


def study_homes(home: Path, runs: Path) -> list[StudyHome]:
    """Where searches are: in the home, and in the folders of journeys among the runs."""
    try:
        names = sorted(entry.name for entry in os.scandir(runs) if (Path(entry.path) / STUDIES).is_dir())
    except OSError:
        names = []
    journeys = [StudyHome(runs.absolute() / name, name, key_of(runs / name, runs)) for name in names]
    return [StudyHome(home), *(each for each in journeys if each.path != home)]


def _read(folder: StudyFolder) -> ReadStudy:
    try:
        study = _finite(folder.load())
    except BreedclfError as error:
        return ReadStudy(None, str(error))
    if study.request.name != folder.path.name:
        return ReadStudy(None, f"{folder.file} is that of {study.request.name!r}: rename its folder to that")
    for run in study.runs:
        if missing := [name for name in study.request.space if name not in run.hyperparameters]:
            return ReadStudy(None, f"{folder.file} is damaged: {run.name} has no value of {', '.join(missing)}")
    return ReadStudy(study)


def _finite(study: Study) -> Study:
    """Without numbers that aren't finite, which other programs may have written."""
    trials = tuple(map(_finite_trial, study.trials))
    return study.model_copy(update={"trials": trials, "seed_runs": tuple(map(_finite_trial, study.seed_runs))})


def _finite_trial(trial: AnyTrial) -> AnyTrial:
    is_odd = trial.objective is not None and not math.isfinite(trial.objective)
    if not is_odd and all(map(math.isfinite, [*trial.history, *trial.metrics.values()])):
        return trial
    changes: dict[str, object] = {
        "history": tuple(filter(math.isfinite, trial.history)),
        "metrics": {name: value for name, value in trial.metrics.items() if math.isfinite(value)},
    }
    if is_odd:
        changes |= {"objective": None, "note": trial.note or _NOT_FINITE}
    return trial.model_copy(update=changes)
