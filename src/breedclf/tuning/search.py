"""The search loop: checks trials, applies the stopping rules, starts the next ones, confirms the best, and saves."""

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
from breedclf.tuning.confirmation import confirm, contenders
from breedclf.tuning.stopping import Ending, ending_of, falls_behind, time_limit
from breedclf.tuning.strategies import NotYet, propose
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import SeedRun, Status, Trial, best_trial, is_better

logger: logging.Logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
_STOPPED = Ending("stopped by the user", halts=True)


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

    def submit(self, name: str, config: TrainingConfig, *, scored: bool) -> None:
        """Start a training run of this name, or run it to its end.

        Args:
            scored: whether `valid_scores` of it will be asked for, but not its model.

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

    def valid_scores(self, name: str) -> Sequence[float] | None:
        """The objective of each validation image in the best epoch of a completed run; None if it isn't known."""

    def restore_model(self, name: str, config: TrainingConfig) -> None:
        """Train a completed run again if its model wasn't kept.

        Raises:
            BreedclfError: it can't be trained.
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
        runs_before = self.study.runs
        self._count_time()
        self._update_trials()
        if self.study.seed_runs:
            self._confirm()
        else:
            self._search()
        if self.study.runs != runs_before or self.study.is_over:
            self._save()
        return self.study

    def is_behind(self, name: str, history: Sequence[float]) -> bool:
        """Whether to stop this trial early, given the objectives of its epochs so far."""
        request = self.study.request
        if not request.early_stopping or not history:
            return False
        index = next((trial.index for trial in self.study.trials if trial.name == name), 0)
        earlier = [trial.history for trial in self.study.trials if trial.index < index and trial.history]
        return falls_behind(history, earlier, request.direction)

    def is_best(self, objective: float) -> bool:
        """Whether a trial that completes with this objective is the best so far; runs with other seeds never are."""
        if self.study.seed_runs:
            return False
        best = self.study.best
        if best is None or best.objective is None:
            return True
        return is_better(objective, best.objective, self.study.request.direction)

    def _search(self) -> None:
        ending = self._ending()
        if ending is None or not ending.halts:
            self._submit_planned()
        if ending is None:
            ending = self._start_new()
        if ending is not None:
            self._wind_down(ending)

    def _confirm(self) -> None:
        """Start or stop runs with other seeds; compare the trials once all runs are over."""
        ending = self._ending_of_confirmation()
        if ending is None:
            waiting = [run for run in self.study.seed_runs if not run.submitted]
            running = sum(run.submitted and not run.is_over for run in self.study.seed_runs)
            for run in waiting[: self.study.request.max_parallel_jobs - running]:
                self._submit(run)
        else:
            self._halt_all(self.study.seed_runs, ending.reason)
        if all(run.is_over for run in self.study.seed_runs):
            self._conclude(ending)

    def _conclude(self, ending: Ending | None) -> None:
        study, request = self.study, self.study.request
        completed = [run for run in study.seed_runs if run.status == "Completed"]
        scores = {(run.index, run.seed): self._runner.valid_scores(run.name) for run in completed}
        confirmation = confirm(
            contenders(study.trials, request.direction),
            study.seed_runs,
            request.other_seeds,
            {run: values for run, values in scores.items() if values is not None},
            request.direction,
        )
        confirmed = study.model_copy(update={"confirmation": confirmation})
        if confirmed.best is not None and confirmed.best != study.best:
            self._runner.restore_model(confirmed.best.name, request.config_of(confirmed.best))
        reason = study.reason if ending is None else f"{study.reason}; its confirmation: {ending.reason}"
        self._change(confirmation=confirmation, status=self._final_status(), reason=reason)

    def _ending_of_confirmation(self) -> Ending | None:
        if self._folder.stop_file.exists():
            return _STOPPED
        return time_limit(self.study.request.completion, self.study.active_seconds)

    def _count_time(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._last_tick)  # ignore a clock that goes backwards
        self._last_tick = now
        self._change(active_seconds=self.study.active_seconds + passed)

    def _update_trials(self) -> None:
        for trial in self.study.runs:
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
        logger.warning("%s was lost (%s): restarting it", trial.name, snapshot.failure_reason or "no reason given")
        seed = trial.seed if isinstance(trial, SeedRun) else None
        return trial.next_attempt(self.study.job_name(trial.index, trial.attempt + 1, seed))

    def _stopped_if_behind(self, trial: Trial) -> Trial:
        is_seed_run = isinstance(trial, SeedRun)
        if is_seed_run or trial.status != "InProgress" or not self.is_behind(trial.name, trial.history):
            return trial
        self._runner.stop(trial.name)
        note = stopped_early(len(trial.history))
        return trial.model_copy(update={"status": "Stopping", "note": note})

    def _ending(self) -> Ending | None:
        if self._folder.stop_file.exists():
            return _STOPPED
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
            config = self.study.request.config_of(trial)
            self._runner.submit(trial.name, config, scored=isinstance(trial, SeedRun))
        except BreedclfError as error:
            now = self._clock()
            failed = {"status": "Failed", "started": now, "ended": now, "failure_reason": str(error)}
            trial = trial.model_copy(update=failed)
        self._put(trial.model_copy(update={"submitted": True}))
        if not trial.is_over and (snapshot := self._runner.snapshot(trial.name)) is not None and not snapshot.lost:
            self._put(_updated(trial, snapshot))
        self._save()

    def _wind_down(self, ending: Ending) -> None:
        """Stop running trials if required; once none is running, end the search or confirm its best trials."""
        if ending.halts:
            self._halt_all(self.study.trials, ending.reason)
        if all(trial.is_over for trial in self.study.trials):
            seed_runs = () if ending is _STOPPED else self.study.planned_seed_runs()
            status = "InProgress" if seed_runs else self._final_status()
            self._change(status=status, reason=ending.reason, seed_runs=seed_runs)

    def _halt_all(self, trials: Sequence[Trial], reason: str) -> None:
        for trial in trials:
            if not trial.is_over:
                self._halt(trial, reason)

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
        if isinstance(trial, SeedRun):
            key = (trial.index, trial.seed)
            runs = (trial if (each.index, each.seed) == key else each for each in self.study.seed_runs)
            self._change(seed_runs=tuple(runs))
        else:
            trials = (trial if each.index == trial.index else each for each in self.study.trials)
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
