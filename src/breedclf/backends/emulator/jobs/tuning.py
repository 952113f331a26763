"""The operations on tuning jobs; `tuning_runs` executes the jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from breedclf.backends.emulator.descriptions import described_definition, described_tuning
from breedclf.backends.emulator.jobs.training import TrainingJobs, check_training
from breedclf.backends.emulator.jobs.tuning_plan import (
    MAX_RUNNING,
    OBJECTIVE_PARAMETER,
    child_name,
    child_request,
    completion_of,
    objective_of,
    plan_of,
    require_quota,
    resources_of,
    tuned,
)
from breedclf.backends.emulator.jobs.tuning_runs import TuningRuns, trials_of
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.store import TRAINING, TUNING, Record, Store, arn_of, page, selected
from breedclf.tuning.trials import Trial, best_trial


@dataclass(frozen=True)
class TuningJobs:
    """Create, describe, list, stop and delete tuning jobs."""

    store: Store
    training: TrainingJobs
    runs: TuningRuns

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        plan_of(request)
        completion_of(request)
        probe = child_request(request, child_name(request["HyperParameterTuningJobName"], 0), {}, {})
        check_training(probe)
        self.training.check_locations(probe, region)
        running = sum(not record.get("ended") for record in self.store.all(TUNING, region))
        require_quota("parallel hyperparameter tuning jobs", MAX_RUNNING, running, 1)
        record = self.store.create(TUNING, request["HyperParameterTuningJobName"], region, request, trials=[])
        self.runs.start(record["name"])
        return {"HyperParameterTuningJobArn": record["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(TUNING, request["HyperParameterTuningJobName"], region)
        submitted = record["request"]
        definition = described_definition(submitted["TrainingJobDefinition"])
        until = record.get("ended") or self.store.clock()
        static = {
            **definition.get("StaticHyperParameters", {}),
            OBJECTIVE_PARAMETER: objective_of(submitted)["MetricName"],
        }
        answer = {
            **_summary(record),
            "HyperParameterTuningJobConfig": described_tuning(submitted["HyperParameterTuningJobConfig"]),
            "TrainingJobDefinition": {
                **definition,
                "StaticHyperParameters": static,
                "ResourceConfig": resources_of(definition),  # the SDK's attach reads it in either case
            },
            "ConsumedResources": {"RuntimeInSeconds": round(until - record["created"])},
        }
        del answer["Strategy"], answer["ResourceLimits"]
        if record.get("failure_reason"):
            answer["FailureReason"] = record["failure_reason"]
        best = best_trial(trials_of(record), plan_of(submitted).direction)
        if best is not None:
            answer["BestTrainingJob"] = self._child(record, best)
        if record.get("ended"):
            answer["TuningJobCompletionDetails"] = {
                "NumberOfTrainingJobsObjectiveNotImproving": _not_improving(trials_of(record), best)
            }
        return answer

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        chosen = selected(
            [_summary(record) for record in self.store.all(TUNING, region)],
            request,
            name="HyperParameterTuningJobName",
            status="HyperParameterTuningJobStatus",
            sort_by="Name",
            order="Ascending",
        )
        return page(chosen, request, "HyperParameterTuningJobSummaries")

    def list_children(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(TUNING, request["HyperParameterTuningJobName"], region)
        children = [self._child(record, trial) for trial in trials_of(record) if trial.submitted]
        status = request.get("StatusEquals")
        children = [each for each in children if status in (None, each["TrainingJobStatus"])]
        sort_by = request.get("SortBy", "Name")
        if sort_by == "FinalObjectiveMetricValue":
            metric = "FinalHyperParameterTuningJobObjectiveMetric"
            children = [each for each in children if metric in each]  # AWS omits those without a metric
            children.sort(key=lambda each: each[metric]["Value"])
        else:
            key = {"Name": "TrainingJobName", "Status": "TrainingJobStatus", "CreationTime": "CreationTime"}[sort_by]
            children.sort(key=lambda each: (each[key], each["CreationTime"]))
        if request.get("SortOrder") == "Descending":
            children.reverse()
        return page(children, request, "TrainingJobSummaries")

    def stop(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(TUNING, request["HyperParameterTuningJobName"], region)
        if record.get("ended"):
            raise ServiceError(
                "ValidationException",
                f"The request was rejected because the tuning job is in status {record['status']}.",
            )
        self.store.change(TUNING, record["name"], stop=True)
        return {}

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.find(TUNING, request["HyperParameterTuningJobName"])
        if record is not None and record["region"] == region:
            if not record.get("ended"):
                raise ServiceError("ValidationException", "A tuning job that hasn't ended can't be deleted.")
            self.store.delete(TUNING, record["name"])
        return {}

    def _child(self, record: Record, trial: Trial) -> dict[str, Any]:
        objective = objective_of(record["request"])
        job = self.store.find(TRAINING, trial.name) or {"created": record["created"]}
        child: dict[str, Any] = {
            "TrainingJobName": trial.name,
            "TrainingJobArn": arn_of(TRAINING, trial.name, record["region"]),
            "CreationTime": job["created"],
            "TrainingJobStatus": trial.status,
            "TunedHyperParameters": tuned(trial.hyperparameters),
            "ObjectiveStatus": _objective_status(trial),
        }
        for key, value in (
            ("TrainingStartTime", trial.started),
            ("TrainingEndTime", trial.ended),
            ("FailureReason", trial.failure_reason),
        ):
            if value is not None:
                child[key] = value
        if trial.objective is not None:
            metric = {"MetricName": objective["MetricName"], "Value": trial.objective, "Type": objective["Type"]}
            child["FinalHyperParameterTuningJobObjectiveMetric"] = metric
        return child


def _objective_status(trial: Trial) -> str:
    if trial.is_over:
        return "Succeeded" if trial.objective is not None and trial.status != "Failed" else "Failed"
    return "Pending"


def _summary(record: Record) -> dict[str, Any]:
    trials = trials_of(record)
    config = record["request"]["HyperParameterTuningJobConfig"]
    status = record.get("status") or ("Stopping" if record.get("stop") else "InProgress")
    objectives = [_objective_status(trial) for trial in trials]
    summary = {
        "HyperParameterTuningJobName": record["name"],
        "HyperParameterTuningJobArn": record["arn"],
        "HyperParameterTuningJobStatus": status,
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        "CreationTime": record["created"],
        "LastModifiedTime": record["modified"],
        "TrainingJobStatusCounters": {
            "Completed": sum(trial.status == "Completed" for trial in trials),
            "InProgress": sum(not trial.is_over for trial in trials),
            "RetryableError": 0,
            "NonRetryableError": sum(trial.status == "Failed" for trial in trials),
            "Stopped": sum(trial.status == "Stopped" for trial in trials),
        },
        "ObjectiveStatusCounters": {word: objectives.count(word) for word in ("Succeeded", "Pending", "Failed")},
    }
    return summary | ({"HyperParameterTuningEndTime": record["ended"]} if record.get("ended") else {})


def _not_improving(trials: list[Trial], best: Trial | None) -> int:
    return 0 if best is None else sum(trial.index > best.index and trial.is_over for trial in trials)
