"""The search itself: looks at the running trials, decides by the pure rules, starts what comes next, writes it down."""

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
class Look:
    """What can be seen of a trial's job from outside.

    `history` holds the objective of each epoch so far, `objective` that of the best epoch once the job has printed it.
    `lost` says that the job ended because the process that ran it vanished, not by its own doing.
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
    """Where trials run. A name is used once: the search never submits the same one twice unless it is unknown."""

    def submit(self, name: str, config: TrainingConfig) -> None:
        """Start a training of this name, or run it to its end.

        Raises:
            BreedclfError: it can't be started.
        """

    def look(self, name: str) -> Look | None:
        """The training's state, or None when no training of that name is known."""

    def stop(self, name: str) -> None:
        """Ask the training to stop; nothing happens when it has ended."""

    def artifact(self, name: str) -> Path:
        """The model folder of a completed training.

        Raises:
            BreedclfError: there is none.
        """


class Search:
    """Drives one study; the caller holds the study's lock.

    Every change is on disk before the next act, and the name of a trial's job before the job starts: whatever the
    moment at which this process is killed, the next one finds each job by its name and repeats none.
    """

    def __init__(self, folder: StudyFolder, runner: TrialRunner, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._runner = runner
        self._clock = clock
        self._last_tick = clock()
        self.study = folder.load()

    def step(self) -> Study:
        """Take in what has changed, and start or stop what is due; returns the study as it now is."""
        if self.study.is_over:
            return self.study
        seen_before = self.study.trials
        self._count_time()
        self._look_at_trials()
        ending = self._ending()
        if ending is None or not ending.halts:
            self._submit_planned()
        if ending is None:
            ending = self._start_new()
        if ending is not None:
            self._wind_down(ending)
        if self.study.trials != seen_before or self.study.is_over:
            self._save()
        return self.study

    def is_behind(self, name: str, history: Sequence[float]) -> bool:
        """Whether the trial of this name, its objectives so far being `history`, is to be stopped early."""
        request = self.study.request
        if not request.early_stopping or not history:
            return False
        index = next(trial.index for trial in self.study.trials if trial.name == name)
        earlier = [trial.history for trial in self.study.trials if trial.index < index and trial.history]
        return falls_behind(history, earlier, request.direction)

    def is_best(self, objective: float) -> bool:
        """Whether a trial that now completes with this objective is the best so far."""
        best = self.study.best
        if best is None or best.objective is None:
            return True
        return is_better(objective, best.objective, self.study.request.direction)

    def _count_time(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._last_tick)  # a clock set back counts as no time
        self._last_tick = now
        self._change(active_seconds=self.study.active_seconds + passed)

    def _look_at_trials(self) -> None:
        for trial in self.study.trials:
            if trial.is_over:
                continue
            look = self._runner.look(trial.name)
            if look is None:
                if trial.submitted:
                    reason = "the job is gone: somebody removed it"
                    self._put(trial.model_copy(update={"status": "Failed", "failure_reason": reason}))
            elif look.lost and trial.attempt < MAX_ATTEMPTS:
                self._put(self._another_attempt(trial, look))
            else:
                self._put(self._stopped_if_behind(_seen(trial, look)))

    def _another_attempt(self, trial: Trial, look: Look) -> Trial:
        attempt = trial.attempt + 1
        logger.warning("%s was lost (%s): it starts again", trial.name, look.failure_reason or "no reason given")
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
        """Start what an earlier process, or the step before, has written down but not started."""
        for trial in self.study.trials:
            if not trial.submitted and not trial.is_over:
                self._submit(trial)

    def _start_new(self) -> Ending | None:
        """Fill the free places; returns why the search can't go on, if so."""
        request = self.study.request
        for _ in range(request.max_parallel_jobs - sum(not trial.is_over for trial in self.study.trials)):
            try:
                values = propose(request.plan, self.study.trials)
            except NotYet:
                return None
            index = len(self.study.trials)
            if values is None:
                return Ending(f"the space holds no more than these {index} combinations", halts=False)
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
        if not trial.is_over and (look := self._runner.look(trial.name)) is not None and not look.lost:
            self._put(_seen(trial, look))
        self._save()

    def _wind_down(self, ending: Ending) -> None:
        """Stop what must not go on, and end the search once nothing runs."""
        for trial in self.study.trials:
            if ending.halts and not trial.is_over:
                self._halt(trial, ending.reason)
        if all(trial.is_over for trial in self.study.trials):
            self._change(status=self._final_status(), reason=ending.reason)

    def _halt(self, trial: Trial, reason: str) -> None:
        if not trial.submitted and self._runner.look(trial.name) is None:
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
    """What is noted about a trial that fell behind."""
    return f"stopped early: epoch {epoch} was worse than the median of the earlier trials"


def _seen(trial: Trial, look: Look) -> Trial:
    """The trial as its job now looks. Only an objective that is a number counts."""
    objective = look.objective if look.objective is not None and math.isfinite(look.objective) else None
    metrics = {name: value for name, value in (look.metrics or {}).items() if math.isfinite(value)}
    note, status = trial.note or look.note, look.status
    if status == "Completed" and objective is None:
        note = "the job ended without a number as its objective: it is left out of the ranking"
    if status == "InProgress" and trial.status == "Stopping":
        status = "Stopping"
    return trial.model_copy(
        update={
            "submitted": True,
            "status": status,
            "objective": objective,
            "history": tuple(itertools.takewhile(math.isfinite, look.history)),
            "metrics": metrics,
            "started": look.started,
            "ended": look.ended,
            "failure_reason": look.failure_reason,
            "note": note,
        }
    )
