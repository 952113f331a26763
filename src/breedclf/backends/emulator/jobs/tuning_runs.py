"""Executes tuning jobs: their children are training jobs, which breedclf's own search proposes and stops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.backends.emulator.jobs.training import TrainingJobs
from breedclf.backends.emulator.jobs.training_runs import TrainingRuns
from breedclf.backends.emulator.jobs.tuning_plan import (
    child_name,
    child_request,
    completion_of,
    max_jobs_of,
    objective_of,
    plan_of,
)
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.store import TRAINING, TUNING, Record, Store
from breedclf.backends.emulator.watching import POLL_SECONDS, Watching
from breedclf.errors import BreedclfError
from breedclf.tuning.stopping import Ending, ending_of, falls_behind
from breedclf.tuning.strategies import NotYet, Plan, propose
from breedclf.tuning.trials import Direction, Trial, best_trial

_END_SECONDS = 10.0


@dataclass
class TuningRuns(Watching):
    """Runs each tuning job in a thread; its state is in the store, so that another emulator can resume it."""

    store: Store
    training: TrainingJobs
    jobs: TrainingRuns
    what = "tuning job"

    def resume(self) -> None:
        """Resume the running tuning jobs of an earlier emulator."""
        for record in self._running():
            self.start(record["name"])

    def end_all(self) -> None:
        """Ask every tuning job to stop, so that none starts another training job."""
        for record in self._running():
            self.store.change(TUNING, record["name"], stop=True)

    def await_end(self) -> None:
        """Wait until the tuning jobs have ended."""
        until = time.monotonic() + _END_SECONDS
        while self._running() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def _running(self) -> list[Record]:
        return [record for record in self.store.all(TUNING) if not record.get("ended")]

    def _advance(self, name: str) -> bool:
        """Update the children, stop and start those that are due; False once the tuning job has ended."""
        record = self.store.find(TUNING, name)
        if record is None or record.get("ended"):
            return False
        plan = plan_of(record["request"])
        trials = [self._refreshed(record, trial) for trial in trials_of(record)]
        if record["request"]["HyperParameterTuningJobConfig"].get("TrainingJobEarlyStoppingType") == "Auto":
            self._stop_early(trials, plan.direction)
        ending = self._ending(record, plan, trials)
        if ending is None:
            ending = self._start_more(record, plan, trials)
        elif ending.halts:
            for trial in trials:
                if not trial.is_over:
                    self.jobs.stop(trial.name)
        self._write(name, trials)
        if ending is None or not all(trial.is_over for trial in trials):
            return True
        self._conclude(record, plan, trials)
        return False

    def _ending(self, record: Record, plan: Plan, trials: Sequence[Trial]) -> Ending | None:
        if record.get("stop"):
            return Ending("stop requested", halts=True)
        request = record["request"]
        seconds = self.store.clock() - record["created"]
        return ending_of(completion_of(request), trials, max_jobs_of(request, plan), seconds, plan.direction)

    def _start_more(self, record: Record, plan: Plan, trials: list[Trial]) -> Ending | None:
        """Start children in free slots; each is stored before it starts."""
        max_jobs = max_jobs_of(record["request"], plan)
        while len(trials) < max_jobs and sum(not trial.is_over for trial in trials) < plan.max_parallel:
            try:
                values = propose(plan, trials)
            except NotYet:
                return None
            if values is None:
                return Ending("the space has no more combinations", halts=False)
            index = len(trials)
            trials.append(Trial(name=child_name(record["name"], index), index=index, hyperparameters=values))
            self._write(record["name"], trials)
            trials[index] = self._submitted(record, trials[index])
        return None

    def _submitted(self, record: Record, trial: Trial) -> Trial:
        request = child_request(record["request"], trial.name, trial.hyperparameters, record["tags"])
        parallel = record["request"]["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"]
        try:
            if self.store.find(TRAINING, trial.name) is None:
                self.training.create(request, record["region"], tuning_job_arn=record["arn"], parallel=parallel)
        except (ServiceError, BreedclfError) as error:
            return trial.model_copy(update={"status": "Failed", "failure_reason": str(error), "submitted": True})
        return trial.model_copy(update={"submitted": True})

    def _refreshed(self, record: Record, trial: Trial) -> Trial:
        """The trial with the current state of its training job."""
        if trial.is_over:
            return trial
        if not trial.submitted:
            return self._submitted(record, trial)
        if self.store.find(TRAINING, trial.name) is None:
            return trial.model_copy(update={"status": "Failed", "failure_reason": "the training job was deleted"})
        described = self.training.describe({"TrainingJobName": trial.name}, record["region"])
        history = self._objectives(trial.name, objective_of(record["request"])["MetricName"])
        return trial.model_copy(
            update={
                "status": described["TrainingJobStatus"],
                "history": history,
                "objective": history[-1] if history else None,
                "started": described.get("TrainingStartTime"),
                "ended": described.get("TrainingEndTime"),
                "failure_reason": described.get("FailureReason"),
            }
        )

    def _objectives(self, name: str, metric: str) -> tuple[float, ...]:
        if self.jobs.job(name) is None:
            return ()
        found = self.jobs.local.metric_history(name)
        return tuple(each.values[metric] for each in found if metric in each.values)

    def _stop_early(self, trials: Sequence[Trial], direction: Direction) -> None:
        for trial in trials:
            earlier = [each.history for each in trials if each.index < trial.index and each.history]
            if trial.status == "InProgress" and trial.history and falls_behind(trial.history, earlier, direction):
                self.jobs.stop(trial.name)

    def _conclude(self, record: Record, plan: Plan, trials: Sequence[Trial]) -> None:
        if record.get("stop"):
            self._end(record["name"], "Stopped")
        elif best_trial(trials, plan.direction) is None:
            failed = next((trial.failure_reason for trial in trials if trial.failure_reason), "no objective was found")
            self._end(record["name"], "Failed", f"No training job succeeded with an objective: {failed}")
        else:
            self._end(record["name"], "Completed")

    def _write(self, name: str, trials: Sequence[Trial]) -> None:
        self.store.change(TUNING, name, trials=[trial.model_dump(mode="json") for trial in trials])

    def _fail(self, name: str, reason: str) -> None:
        self._end(name, "Failed", reason)

    def _end(self, name: str, status: str, failure: str | None = None) -> None:
        changes: dict[str, Any] = {"status": status, "ended": self.store.clock(), "failure_reason": failure}
        self.store.change(TUNING, name, **changes)


def trials_of(record: Record) -> list[Trial]:
    """The children of a tuning job's record."""
    return [Trial(**each) for each in record["trials"]]
