"""A search that its backend runs by itself: started once, then only polled, with the study on disk as its mirror."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from breedclf.api.tuning_drivers import OnChange, best_epoch, objective_history, search_spec
from breedclf.errors import BreedclfError
from breedclf.jobs import PacedBackend
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.tuning.native import (
    TELL_BEST_VARIABLE,
    NativeDescription,
    NativeSearch,
    NativeTuning,
    disagreement,
    mirrored,
)
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import Trial

log: logging.Logger = logging.getLogger(__name__)

DESCRIBE_SECONDS = 15.0  # at most four calls a minute, of whatever kind
_APPEARS_WITHIN_SECONDS = 60.0
_SETTLES_WITHIN_LOOKS = 4


class NativeDriver:
    """Starts the search on its backend and mirrors its state; nothing depends on this process."""

    goes_on = "it goes on by itself"

    def __init__(self, folder: StudyFolder, backend: NativeTuning, clock: Clock = SYSTEM_CLOCK) -> None:
        self._folder = folder
        self._backend = backend
        self._clock = clock
        self._looked_into: set[str] = set()
        self._asked: float | None = None
        self._apart = backend.poll_seconds if isinstance(backend, PacedBackend) else DESCRIBE_SECONDS

    def begin(self, on_change: OnChange) -> Study:
        study = self._folder.load()
        if self._folder.stop_file.exists():
            study = self._stop(study)
        elif not study.trials:
            self._create(study)
        on_change(study)
        return study

    def carry_on(self, on_change: OnChange) -> Study:
        study = self._folder.load()
        told = self._started(study)
        until_it_appears = self._clock.monotonic() + _APPEARS_WITHIN_SECONDS
        looks_after_the_end, stopping = 0, False
        while True:
            if told is not None or study.trials or self._clock.monotonic() >= until_it_appears:
                seen = mirrored(study, told)
                if _lags(seen, told) and looks_after_the_end < _SETTLES_WITHIN_LOOKS:
                    looks_after_the_end += 1
                    seen = seen.model_copy(update={"status": "InProgress", "reason": None})
                study = self._kept(study, seen)
            if study.is_over:
                return self._ended(study, told, on_change)
            study = self._kept(study, self._with_details(study, most=1))
            on_change(study)
            if self._folder.stop_file.exists() and not stopping:
                self._backend.stop_tuning(study.request.name)
                stopping = True
            told = self._describe(study)

    def artifact(self, trial: str) -> Path:
        return self._backend.artifact(trial)

    def job(self, trial: str) -> str | None:
        return trial

    def _started(self, study: Study) -> NativeDescription | None:
        """The state of the search, which is started if the process that saved it ended before it could."""
        told = self._describe(study)
        if told is None and not study.trials and not self._folder.stop_file.exists():
            self._create(study)
        return told

    def _create(self, study: Study) -> None:
        self._backend.create_tuning(native_search(study.request, since=study.created))

    def _stop(self, study: Study) -> Study:
        told = self._describe(study)
        if told is None:
            note = {"status": "Stopped", "reason": "stopped by the user before it started"}
            return self._kept(study, study.model_copy(update=note))
        self._backend.stop_tuning(study.request.name)
        return self._kept(study, mirrored(study, self._describe(study)))

    def _ended(self, study: Study, told: NativeDescription | None, on_change: OnChange) -> Study:
        study = self._kept(study, self._with_details(study, most=len(study.trials)))
        if told is not None and (problem := disagreement(study, told)):
            log.warning("%s: %s", study.request.name, problem)
        on_change(study)
        return study

    def _kept(self, before: Study, study: Study) -> Study:
        if study != before:
            self._folder.save(study)
        return study

    def _with_details(self, study: Study, *, most: int) -> Study:
        """The metrics and epochs of ended trials, which the list of trials doesn't include."""
        for trial in study.trials:
            if most == 0:
                break
            if not trial.is_over or trial.metrics or trial.name in self._looked_into:
                continue
            most -= 1
            if not study.is_over:
                self._take_turn()
            changed = self._detailed(trial, study.request)
            trials = tuple(changed if each.name == trial.name else each for each in study.trials)
            study = study.model_copy(update={"trials": trials})
        return study

    def _detailed(self, trial: Trial, request: SearchRequest) -> Trial:
        self._looked_into.add(trial.name)
        try:
            description = self._backend.describe(trial.name)
            records = self._backend.metric_history(trial.name)
        except BreedclfError as error:
            log.info("the metrics of %s can't be read: %s", trial.name, error)
            return trial
        metrics = best_epoch(records, description.metrics.get("best_epoch"))
        return trial.model_copy(update={"metrics": metrics, "history": objective_history(records, request.objective)})

    def _describe(self, study: Study) -> NativeDescription | None:
        self._take_turn()
        return self._backend.describe_tuning(study.request.name)

    def _take_turn(self) -> None:
        """Wait until the next call is allowed."""
        now = self._clock.monotonic()
        if self._asked is not None and now < self._asked + self._apart:
            self._clock.sleep(self._asked + self._apart - now)
        self._asked = self._clock.monotonic()


def _lags(study: Study, told: NativeDescription | None) -> bool:
    """Whether the list of trials lags behind the search, which has ended."""
    return study.is_over and told is not None and any(not trial.is_over for trial in study.trials)


def native_search(request: SearchRequest, *, since: float = 0.0) -> NativeSearch:
    """The search as its backend receives it.

    Raises:
        ConfigError: a setting doesn't fit a job.
        DataError: the image folder doesn't exist.
    """
    spec = search_spec(request, request.name)
    if request.early_stopping:  # the service stops trials by the metric that it ranks by
        spec = spec.replace(environment={**spec.environment, TELL_BEST_VARIABLE: "1"})
    return NativeSearch(request, spec, since)


def adopt(folder: StudyFolder, name: str, backend: NativeTuning, clock: Clock) -> None:
    """Start a mirror of a search that another machine started.

    Raises:
        ConfigError: the backend has none of this name, or it wasn't started by breedclf.
    """
    request = backend.find_tuning(name)
    with folder.locked():
        if not folder.exists():
            study = Study(request=request, key=secrets.token_hex(4), created=clock.time(), backend=backend.name)
            folder.save(study)
