"""Native tuning jobs: started once, described with all their trainings, stopped, and found again by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.refusals import is_missing, may_be_taken, may_have_ended
from breedclf.backends.sagemaker.training.jobs import TrainingJobs
from breedclf.backends.sagemaker.tuning.request import STARTED_TAG, search_request, started_tag, tuning_request
from breedclf.errors import ConfigError, JobError
from breedclf.tuning.native import NativeDescription, NativeSearch, NativeTrial
from breedclf.tuning.study import SearchRequest
from breedclf.tuning.trials import Status

_PAGE = 100
_CLOCKS_DIFFER_SECONDS = 300.0
_STATUSES: dict[str, Status] = {"Deleting": "Stopping", "DeleteFailed": "Failed"}


class TuningJobs(TrainingJobs):
    """The tuning jobs of one account and region; any number of processes may look at them."""

    def create_tuning(self, search: NativeSearch) -> None:
        """Start the search; an answer that was lost on the way makes no second one.

        Raises:
            ConfigError: the name is taken, the search can't be run, or it may cost too much.
            JobError: the service refuses.
        """
        planned, name = self.tuning_call(search), search.request.name
        self.check_cost([planned])

        def check_name() -> None:
            if self._described(name) is not None and not self._is_this(search, planned.parameters):
                raise _taken(name)

        call = _call(search, self.prepared(search.job, check_name=check_name))
        with told(f"starting tuning job {name}", JobError):
            try:
                self.clients("sagemaker").create_hyper_parameter_tuning_job(**call.parameters)
            except ClientError as error:
                if not (may_be_taken(error) and self._described(name) is not None):
                    raise
                if not self._is_this(search, call.parameters):
                    raise _taken(name) from error

    def describe_tuning(self, name: str) -> NativeDescription | None:
        """What the service knows of it, with every training so far, the oldest first; None when there is none."""
        found = self._described(name)
        if found is None:
            return None
        status = found["HyperParameterTuningJobStatus"]
        return NativeDescription(
            name=name,
            status=_STATUSES.get(status, status),
            created=_seconds(found["CreationTime"]) or 0.0,
            ended=_seconds(found.get("HyperParameterTuningEndTime")),
            reason=found.get("FailureReason") or _completion(found),
            trials=tuple(_trial(each) for each in self._trainings(name)),
            best=found.get("BestTrainingJob", {}).get("TrainingJobName"),
            details={
                "trainings": found.get("TrainingJobStatusCounters", {}),
                "objectives": found.get("ObjectiveStatusCounters", {}),
            },
        )

    def stop_tuning(self, name: str) -> None:
        """Ask it to stop its trainings and itself; one that has ended or isn't there stays as it is."""
        with told(f"stopping tuning job {name}", JobError):
            try:
                self.clients("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            except ClientError as error:
                found = self._described(name) if may_have_ended(error) else None
                if not may_have_ended(error) or (found and found["HyperParameterTuningJobStatus"] == "InProgress"):
                    raise

    def find_tuning(self, name: str) -> SearchRequest:
        """What it was asked for.

        Raises:
            ConfigError: there is none of that name, or it isn't one of breedclf's.
        """
        found = self._described(name)
        if found is None:
            raise ConfigError(f"no tuning job {name!r}, neither here nor in the account's SageMaker in this region")
        return search_request(name, found)

    def sdk_tuner(self, search: NativeSearch) -> Any:
        """The SageMaker SDK's own tuner, set as this search is; what the trainings read is uploaded.

        Raises:
            ConfigError: the search may cost too much, or the SDK's tuner can't carry a part of it.
        """
        from breedclf.backends.sagemaker.tuning.sdk_tuner import sdk_tuner

        self.check_cost([self.tuning_call(search)])
        request = _call(search, self.prepared(search.job, check_name=lambda: None)).parameters
        return sdk_tuner(
            request,
            boto_session=self.clients.session,
            bucket=self.bucket,
            endpoint_url=self.settings.endpoint_url,
        )

    def tuning_call(self, search: NativeSearch) -> ApiCall:
        """The call that would start the search, checked; nothing is uploaded or sent.

        Raises:
            ConfigError: the search asks for what a tuning job of the service can't do.
        """
        return _call(search, self.request_for(search.job)).checked(self.region)

    def _described(self, name: str) -> dict[str, Any] | None:
        with told(f"describing tuning job {name}", JobError):
            try:
                client = self.clients("sagemaker")
                return dict(client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def _trainings(self, name: str) -> list[dict[str, Any]]:
        pages = self.clients("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        with told(f"listing the training jobs of tuning job {name}", JobError):
            return [
                each
                for page in pages.paginate(
                    HyperParameterTuningJobName=name,
                    SortBy="CreationTime",
                    SortOrder="Ascending",
                    PaginationConfig={"PageSize": _PAGE},
                )
                for each in page["TrainingJobSummaries"]
            ]

    def _is_this(self, search: NativeSearch, request: Mapping[str, Any]) -> bool:
        """Whether the tuning job of that name is the one that this request started, its answer having been lost.

        A tag tells: it holds the moment at which this search was written down, which no other one shares.
        """
        found = self._described(search.request.name)
        if found is None or (_seconds(found["CreationTime"]) or 0.0) < search.since - _CLOCKS_DIFFER_SECONDS:
            return False
        config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
        theirs = found.get("TrainingJobDefinition", {})
        return bool(
            self.tags_of(found["HyperParameterTuningJobArn"]).get(STARTED_TAG) == started_tag(search).get(STARTED_TAG)
            and _same_ranges(found["HyperParameterTuningJobConfig"], config)
            and _own(theirs.get("StaticHyperParameters", {})) == _own(definition["StaticHyperParameters"])
            and theirs.get("OutputDataConfig", {}).get("S3OutputPath") == definition["OutputDataConfig"]["S3OutputPath"]
        )


def _call(search: NativeSearch, training: Mapping[str, Any]) -> ApiCall:
    return ApiCall("CreateHyperParameterTuningJob", tuning_request(search, training))


def _own(pairs: Mapping[str, str]) -> dict[str, str]:
    """Without what the service adds to them."""
    return {name: value for name, value in pairs.items() if not name.startswith("_tuning_")}


def _same_ranges(found: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    names = ("Strategy", "ResourceLimits", "ParameterRanges", "RandomSeed")
    return all(found.get(name) == asked.get(name) for name in names)


def _trial(told_of: Mapping[str, Any]) -> NativeTrial:
    status = told_of["TrainingJobStatus"]
    final = told_of.get("FinalHyperParameterTuningJobObjectiveMetric")
    return NativeTrial(
        name=told_of["TrainingJobName"],
        status=_STATUSES.get(status, status),
        hyperparameters=dict(told_of["TunedHyperParameters"]),
        created=_seconds(told_of["CreationTime"]) or 0.0,
        objective=None if final is None else final["Value"],
        started=_seconds(told_of.get("TrainingStartTime")),
        ended=_seconds(told_of.get("TrainingEndTime")),
        failure_reason=told_of.get("FailureReason"),
    )


def _completion(found: Mapping[str, Any]) -> str | None:
    """Why the service ended a search that it didn't fail, where it tells."""
    if found["HyperParameterTuningJobStatus"] != "Completed":
        return None
    details, config = found.get("TuningJobCompletionDetails", {}), found["HyperParameterTuningJobConfig"]
    limits, criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    run = sum(found.get("TrainingJobStatusCounters", {}).values())
    if run and run >= limits.get("MaxNumberOfTrainingJobs", run + 1):
        return f"all {run} trials have run"
    if details.get("ConvergenceDetectedTime"):
        return "the search has converged"
    stale = details.get("NumberOfTrainingJobsObjectiveNotImproving")
    allowed = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if stale is not None and allowed is not None and stale >= allowed:
        return f"{stale} trials in a row ended without a better objective"
    if "TargetObjectiveMetricValue" in criteria:
        return f"the target objective {criteria['TargetObjectiveMetricValue']:g} was reached, or nothing is left to try"
    return None


def _taken(name: str) -> ConfigError:
    return ConfigError(f"the account has a tuning job {name!r} already: attach to it, or take another name")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
