"""Native tuning jobs: start, describe, stop and find them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.aws_errors import is_missing, may_be_taken, may_have_ended, translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.tuning.request import STARTED_TAG, search_request, started_tag, tuning_request
from breedclf.errors import ConfigError, JobError
from breedclf.jobs.plan import ApiCall
from breedclf.tuning.native import NativeDescription, NativeSearch, NativeSummary, NativeTrial
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.trials import Status

if TYPE_CHECKING:
    from sagemaker.train.tuner import HyperparameterTuner

_PAGE = 100
_CLOCKS_DIFFER_SECONDS = 300.0
_STATUSES: dict[str, Status] = {"Deleting": "Stopping", "DeleteFailed": "Failed"}


class TuningJobs:
    """The tuning jobs of one account and region; any number of processes may use them."""

    def __init__(self, context: AwsContext, requests: TrainingRequests) -> None:
        self._context = context
        self._requests = requests

    def create_tuning(self, search: NativeSearch) -> None:
        """Start the search, once even if the response of SageMaker is lost.

        Raises:
            ConfigError: the name is taken, the search isn't supported, or it may cost too much.
            JobError: SageMaker refuses.
        """
        planned, name = self.planned_call(search), search.request.name
        self._context.require_affordable([planned])

        def check_name() -> None:
            if self._described(name) is not None and not self._is_this(search, planned.parameters):
                raise _taken(name)

        call = _call(search, self._requests.prepared(search.job, check_name=check_name))
        with translate_aws_errors(f"starting tuning job {name}", as_=JobError):
            try:
                self._context.clients("sagemaker").create_hyper_parameter_tuning_job(**call.parameters)
            except ClientError as error:
                if not (may_be_taken(error) and self._described(name) is not None):
                    raise
                if not self._is_this(search, call.parameters):
                    raise _taken(name) from error

    def describe_tuning(self, name: str) -> NativeDescription | None:
        """The state of a tuning job with all its training jobs, oldest first; None if there is none of that name."""
        found = self._described(name)
        if found is None:
            return None
        status = found["HyperParameterTuningJobStatus"]
        return NativeDescription(
            name=name,
            status=_STATUSES.get(status, status),
            created=epoch_seconds(found["CreationTime"]),
            ended=epoch_seconds(found.get("HyperParameterTuningEndTime")),
            reason=found.get("FailureReason") or _completion(found),
            trials=tuple(_trial(each) for each in self._trainings(name)),
            best=found.get("BestTrainingJob", {}).get("TrainingJobName"),
            details={
                "trainings": found.get("TrainingJobStatusCounters", {}),
                "objectives": found.get("ObjectiveStatusCounters", {}),
            },
        )

    def list_tunings(self) -> list[NativeSummary]:
        """All tuning jobs in the account and region, without their training jobs."""
        pages = self._context.clients("sagemaker").get_paginator("list_hyper_parameter_tuning_jobs")
        with translate_aws_errors("listing tuning jobs", as_=JobError):
            return [
                _listed(each)
                for page in pages.paginate(PaginationConfig={"PageSize": _PAGE})
                for each in page["HyperParameterTuningJobSummaries"]
            ]

    def stop_tuning(self, name: str) -> None:
        """Stop a tuning job and its training jobs; does nothing if it has ended or doesn't exist."""
        with translate_aws_errors(f"stopping tuning job {name}", as_=JobError):
            try:
                self._context.clients("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            except ClientError as error:
                found = self._described(name) if may_have_ended(error) else None
                if not may_have_ended(error) or (found and found["HyperParameterTuningJobStatus"] == "InProgress"):
                    raise

    def find_tuning(self, name: str) -> SearchRequest:
        """The request of an existing tuning job.

        Raises:
            ConfigError: there is none of that name, or breedclf didn't create it.
        """
        found = self._described(name)
        if found is None:
            raise ConfigError(f"no tuning job {name!r}, neither here nor in SageMaker in this account and region")
        return search_request(name, found)

    def sdk_tuner(self, search: NativeSearch) -> HyperparameterTuner:
        """The SageMaker SDK's tuner, configured like this search; the inputs of its jobs are uploaded.

        Raises:
            ConfigError: the search may cost too much, or the SDK's tuner doesn't support a part of it.
            MissingExtraError: the SDK isn't installed.
        """
        from breedclf.backends.sagemaker.tuning.sdk_tuner import sdk_tuner

        self._context.require_affordable([self.planned_call(search)])
        request = _call(search, self._requests.prepared(search.job, check_name=lambda: None)).parameters
        return sdk_tuner(
            request,
            boto_session=self._context.clients.session,
            bucket=self._context.bucket,
            endpoint_url=self._context.settings.endpoint_url,
        )

    def planned_call(self, search: NativeSearch) -> ApiCall:
        """The validated call that would start the search; nothing is uploaded or sent.

        Raises:
            ConfigError: tuning jobs don't support the search.
        """
        return validate_call(_call(search, self._requests.planned(search.job)), self._context.region)

    def _described(self, name: str) -> dict[str, Any] | None:
        with translate_aws_errors(f"describing tuning job {name}", as_=JobError):
            try:
                client = self._context.clients("sagemaker")
                return dict(client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def _trainings(self, name: str) -> list[dict[str, Any]]:
        pages = self._context.clients("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        with translate_aws_errors(f"listing the training jobs of tuning job {name}", as_=JobError):
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
        """Whether an earlier attempt with the same request, whose response was lost, started the tuning job.

        A tag identifies the search: the time at which it was saved, which is unique.
        """
        found = self._described(search.request.name)
        if found is None or epoch_seconds(found["CreationTime"]) < search.since - _CLOCKS_DIFFER_SECONDS:
            return False
        config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
        theirs = found.get("TrainingJobDefinition", {})
        return bool(
            self._context.resource_tags(found["HyperParameterTuningJobArn"]).get(STARTED_TAG)
            == started_tag(search).get(STARTED_TAG)
            and _same_ranges(found["HyperParameterTuningJobConfig"], config)
            and _own(theirs.get("StaticHyperParameters", {})) == _own(definition["StaticHyperParameters"])
            and theirs.get("OutputDataConfig", {}).get("S3OutputPath") == definition["OutputDataConfig"]["S3OutputPath"]
        )


def _call(search: NativeSearch, training: Mapping[str, Any]) -> ApiCall:
    return ApiCall("CreateHyperParameterTuningJob", tuning_request(search, training))


def _own(pairs: Mapping[str, str]) -> dict[str, str]:
    """Without hyperparameters that the service adds."""
    return {name: value for name, value in pairs.items() if not name.startswith("_tuning_")}


def _same_ranges(found: Mapping[str, Any], requested: Mapping[str, Any]) -> bool:
    names = ("Strategy", "ResourceLimits", "ParameterRanges", "RandomSeed")
    return all(found.get(name) == requested.get(name) for name in names)


def _listed(summary: Mapping[str, Any]) -> NativeSummary:
    status, counters = summary["HyperParameterTuningJobStatus"], summary.get("TrainingJobStatusCounters", {})
    counts = {name: counters.get(name, 0) for name in ("Completed", "InProgress", "Stopped")}
    counts["Failed"] = counters.get("NonRetryableError", 0) + counters.get("RetryableError", 0)
    return NativeSummary(
        name=summary["HyperParameterTuningJobName"],
        status=_STATUSES.get(status, status),
        created=epoch_seconds(summary["CreationTime"]),
        ended=epoch_seconds(summary.get("HyperParameterTuningEndTime")),
        planned=summary.get("ResourceLimits", {}).get("MaxNumberOfTrainingJobs"),
        counts=counts,
    )


def _trial(summary: Mapping[str, Any]) -> NativeTrial:
    status = summary["TrainingJobStatus"]
    final = summary.get("FinalHyperParameterTuningJobObjectiveMetric")
    return NativeTrial(
        name=summary["TrainingJobName"],
        status=_STATUSES.get(status, status),
        hyperparameters=dict(summary["TunedHyperParameters"]),
        created=epoch_seconds(summary["CreationTime"]),
        objective=None if final is None else final["Value"],
        started=epoch_seconds(summary.get("TrainingStartTime")),
        ended=epoch_seconds(summary.get("TrainingEndTime")),
        failure_reason=summary.get("FailureReason"),
    )


def _completion(found: Mapping[str, Any]) -> str | None:
    """Why the service completed a search; None if unknown."""
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
    return ConfigError(f"tuning job name {name!r} is taken: attach to that job, or choose another name")
