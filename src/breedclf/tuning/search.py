"""The search loop: checks running trials, applies the stopping rules, starts the next trials, and saves the study."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError
from breedclf.tuning.stopping import Ending, ending_of, falls_behind
from breedclf.tuning.strategies import NotYet, propose
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import Status, Trial, best_trial, is_better

logger: logging.Logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class TrialSnapshot:
    """The state of a trial's job at one moment.

    `history` is the objective of each epoch so far, `objective` that of the best epoch once the job has printed it.
    `lost` means that the job ended because its process disappeared, so it can be restarted.
    """

    status: Status
    history: tuple[float, ...] = ()
    objective: float | None = None
    metrics: dict[str, float] | None = None
    started: float | None = None
    ended: float | None = None
    failure_reason: str | None = None
    note: str | None = None
    lost: bool = False


class TrialRunner(Protocol):
    """Runs trials. The search never submits the same name twice, unless the runner doesn't know it."""

    def submit(self, name: str, config: TrainingConfig) -> None:
        """Start a training run of this name, or run it to its end.

        Raises:
            BreedclfError: it can't be started.
        """

    def snapshot(self, name: str) -> TrialSnapshot | None:
        """The current state of the run; None if no run of that name is known."""

    def stop(self, name: str) -> None:
        """Stop the run; no effect if it has ended."""

    def artifact(self, name: str) -> Path:
        """The model directory of a completed run.

        Raises:
            BreedclfError: there is none.
        """


class Search:
    """Drives one study; the caller holds the study's lock.

    Every change is saved before the next action, and a trial's job name before its job starts. So whenever this process
    is killed, the next one finds each job by its name and doesn't repeat any.
    """

    def __init__(self, folder: StudyFolder, runner: TrialRunner, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._runner = runner
        self._clock = clock
        self._last_tick = clock()
        self.study: Study = folder.load()

    def step(self) -> Study:
        """Update the study from its trials, and start or stop trials as needed; returns the updated study."""
        if self.study.is_over:
            return self.study
        trials_before = self.study.trials
        self._count_time()
        self._update_trials()
        ending = self._ending()
        if ending is None or not ending.halts:
            self._submit_planned()
        if ending is None:
            ending = self._start_new()
        if ending is not None:
            self._wind_down(ending)
        if self.study.trials != trials_before or self.study.is_over:
            self._save()
        return self.study

    def is_behind(self, name: str, history: Sequence[float]) -> bool:
        """Whether to stop this trial early, given the objectives of its epochs so far."""
        request = self.study.request
        if not request.early_stopping or not history:
            return False
        index = next(trial.index for trial in self.study.trials if trial.name == name)
        earlier = [trial.history for trial in self.study.trials if trial.index < index and trial.history]
        return falls_behind(history, earlier, request.direction)

    def is_best(self, objective: float) -> bool:
        """Whether a trial that completes with this objective is the best so far."""
        best = self.study.best
        if best is None or best.objective is None:
            return True
        return is_better(objective, best.objective, self.study.request.direction)

    def _count_time(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._last_tick)  # ignore a clock that goes backwards
        self._last_tick = now
        self._change(active_seconds=self.study.active_seconds + passed)

    def _update_trials(self) -> None:
        for trial in self.study.trials:
            if trial.is_over:
                continue
            snapshot = self._runner.snapshot(trial.name)
            if snapshot is None:
                if trial.submitted:
                    reason = "the job no longer exists: it was deleted"
                    self._put(trial.model_copy(update={"status": "Failed", "failure_reason": reason}))
            elif snapshot.lost and trial.attempt < MAX_ATTEMPTS:
                self._put(self._another_attempt(trial, snapshot))
            else:
                self._put(self._stopped_if_behind(_updated(trial, snapshot)))

    def _another_attempt(self, trial: Trial, snapshot: TrialSnapshot) -> Trial:
        attempt = trial.attempt + 1
        logger.warning("%s was lost (%s): restarting it", trial.name, snapshot.failure_reason or "no reason given")
        return Trial(
            name=self.study.job_name(trial.index, attempt),
            index=trial.index,
            attempt=attempt,
            hyperparameters=trial.hyperparameters,
        )

    def _stopped_if_behind(self, trial: Trial) -> Trial:
        if trial.status != "InProgress" or not self.is_behind(trial.name, trial.history):
            return trial
        self._runner.stop(trial.name)
        note = stopped_early(len(trial.history))
        return trial.model_copy(update={"status": "Stopping", "note": note})

    def _ending(self) -> Ending | None:
        if self._folder.stop_file.exists():
            return Ending("stopped by the user", halts=True)
        study, request = self.study, self.study.request
        return ending_of(request.completion, study.trials, request.job_count, study.active_seconds, request.direction)

    def _submit_planned(self) -> None:
        """Start trials that were saved but not started by an earlier process or step."""
        for trial in self.study.trials:
            if not trial.submitted and not trial.is_over:
                self._submit(trial)

    def _start_new(self) -> Ending | None:
        """Start trials up to the parallel limit; returns the reason if the search can't continue."""
        request = self.study.request
        for _ in range(request.max_parallel_jobs - sum(not trial.is_over for trial in self.study.trials)):
            try:
                values = propose(request.plan, self.study.trials)
            except NotYet:
                return None
            index = len(self.study.trials)
            if values is None:
                return Ending(f"the space has only {index} combinations", halts=False)
            trial = Trial(name=self.study.job_name(index), index=index, hyperparameters=values)
            self._change(trials=(*self.study.trials, trial))
            self._save()
            self._submit(trial)
            if (ending := self._ending()) is not None:
                return ending
        return None

    def _submit(self, trial: Trial) -> None:
        try:
            self._runner.submit(trial.name, self.study.request.config_of(trial))
        except BreedclfError as error:
            now = self._clock()
            failed = {"status": "Failed", "started": now, "ended": now, "failure_reason": str(error)}
            trial = trial.model_copy(update=failed)
        self._put(trial.model_copy(update={"submitted": True}))
        if not trial.is_over and (snapshot := self._runner.snapshot(trial.name)) is not None and not snapshot.lost:
            self._put(_updated(trial, snapshot))
        self._save()

    def _wind_down(self, ending: Ending) -> None:
        """Stop running trials if required, and end the search once none is running."""
        for trial in self.study.trials:
            if ending.halts and not trial.is_over:
                self._halt(trial, ending.reason)
        if all(trial.is_over for trial in self.study.trials):
            self._change(status=self._final_status(), reason=ending.reason)

    def _halt(self, trial: Trial, reason: str) -> None:
        if not trial.submitted and self._runner.snapshot(trial.name) is None:
            stopped = {"submitted": True, "status": "Stopped", "note": f"never started: {reason}"}
            self._put(trial.model_copy(update=stopped))
        elif trial.status != "Stopping":
            self._runner.stop(trial.name)
            stopping = {"submitted": True, "status": "Stopping", "note": f"stopped: {reason}"}
            self._put(trial.model_copy(update=stopping))

    def _final_status(self) -> Status:
        if self._folder.stop_file.exists():
            return "Stopped"
        return "Completed" if best_trial(self.study.trials, self.study.request.direction) else "Failed"

    def _put(self, trial: Trial) -> None:
        trials = list(self.study.trials)
        trials[trial.index] = trial
        self._change(trials=tuple(trials))

    def _change(self, **changes: object) -> None:
        self.study = self.study.model_copy(update=changes)

    def _save(self) -> None:
        self._folder.save(self.study)


def stopped_early(epoch: int) -> str:
    """The note of a trial that was stopped early."""
    return f"stopped early: epoch {epoch} was worse than the median of earlier trials"


def _updated(trial: Trial, snapshot: TrialSnapshot) -> Trial:
    """Update a trial from a snapshot of its job; non-finite objectives are ignored."""
    objective = snapshot.objective if snapshot.objective is not None and math.isfinite(snapshot.objective) else None
    metrics = {name: value for name, value in (snapshot.metrics or {}).items() if math.isfinite(value)}
    note, status = trial.note or snapshot.note, snapshot.status
    if status == "Completed" and objective is None:
        note = "the job has no finite objective and isn't ranked"
    if status == "InProgress" and trial.status == "Stopping":
        status = "Stopping"
    return trial.model_copy(
        update={
            "submitted": True,
            "status": status,
            "objective": objective,
            "history": tuple(itertools.takewhile(math.isfinite, snapshot.history)),
            "metrics": metrics,
            "started": snapshot.started,
            "ended": snapshot.ended,
            "failure_reason": snapshot.failure_reason,
            "note": note,
        }
    )
