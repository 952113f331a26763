"""The operations on training jobs; `training_runs` executes the jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.descriptions import described_training
from breedclf.backends.emulator.jobs.training_runs import TrainingRuns
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.s3.storage import location_of
from breedclf.backends.emulator.store import TRAINING, Record, page, selected
from breedclf.errors import ConfigError
from breedclf.jobs import JobDescription, JobStatus, SecondaryStatus
from breedclf.jobs.metric_lines import MetricDefinition, check_definitions

_NO_RULES = "breedclf's emulator evaluates no rules"
_RULES = {
    "DebugRuleConfigurations": "DebugRuleEvaluationStatuses",
    "ProfilerRuleConfigurations": "ProfilerRuleEvaluationStatuses",
}


class TrainingJobs:
    """Create, describe, list, stop and delete training jobs."""

    def __init__(self, runs: TrainingRuns, lags: Callable[[], Lags] = Lags) -> None:
        self._runs = runs
        self._lags = lags
        self._store = runs.store

    def create(self, request: Mapping[str, Any], region: str, **fields: Any) -> dict[str, Any]:
        """Start a job; `fields` are added to its record, such as its tuning job."""
        check_training(request)
        self.check_locations(request, region)
        record = self._store.create(
            TRAINING, request["TrainingJobName"], region, request, phases=[["Starting", self._store.clock()]], **fields
        )
        self._runs.start(record["name"])
        return {"TrainingJobArn": record["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._store.get(TRAINING, request["TrainingJobName"], region)
        answer = description_of(record, self._runs.job(record["name"]))
        if self._lags().hides_metrics(record.get("ended"), now=self._store.clock()):
            answer.pop("FinalMetricDataList", None)
        return answer

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [summary_of(record, self._runs.job(record["name"])) for record in self._store.all(TRAINING, region)]
        chosen = selected(summaries, request, name="TrainingJobName", status="TrainingJobStatus")
        return page(chosen, request, "TrainingJobSummaries")

    def stop(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._store.get(TRAINING, request["TrainingJobName"], region)
        status = status_of(record, self._runs.job(record["name"]))[0]
        if status.is_final:
            raise ServiceError(
                "ValidationException",
                f"The request was rejected because the training job is in status {status}.",
            )
        self._runs.stop(record["name"])
        return {}

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._store.get(TRAINING, request["TrainingJobName"], region)
        status = status_of(record, self._runs.job(record["name"]))[0]
        if not status.is_final:
            raise ServiceError("ResourceInUse", f"The training job is in status {status} and can't be deleted.")
        self._runs.delete(record["name"])
        return {}

    def check_locations(self, request: Mapping[str, Any], region: str) -> None:
        """Inputs must exist, and all buckets must be in this region."""
        for channel in request.get("InputDataConfig", ()):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            location = location_of(uri)
            if self._runs.storage.region_of(location.bucket) != region or not self._runs.storage.any(location):
                raise ServiceError(
                    "ValidationException",
                    f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the '
                    f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                    f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket '
                    f'"{location.bucket}".',
                )
        for name, uri in _output_locations(request):
            bucket = location_of(uri).bucket
            found = self._runs.storage.region_of(bucket)
            if found != region:
                where = "doesn't exist" if found is None else f"is in region {found}"
                raise ServiceError(
                    "ValidationException", f"The bucket {bucket} of {name} {where}; use one in region {region}."
                )


def check_training(request: Mapping[str, Any]) -> None:
    """Check rules across fields, and refuse features that aren't emulated.

    Raises:
        ServiceError: a rule is broken, or a feature isn't emulated.
    """
    algorithm = request["AlgorithmSpecification"]
    if algorithm.get("AlgorithmName"):
        _refuse("AlgorithmName isn't emulated by breedclf's emulator; give a TrainingImage.")
    if algorithm["TrainingInputMode"] == "Pipe":
        _refuse("TrainingInputMode Pipe isn't emulated by breedclf's emulator; use File or FastFile.")
    _check_resources(request.get("ResourceConfig"))
    stopping = request.get("StoppingCondition")
    if stopping is None:
        _refuse("StoppingCondition must be given.")
    _check_checkpoints(request)
    _check_channels(request)
    try:
        check_definitions(metric_definitions(request))
    except ConfigError as error:
        _refuse(f"Invalid MetricDefinitions: {error}")


def metric_definitions(request: Mapping[str, Any]) -> tuple[MetricDefinition, ...]:
    """The request's metric definitions."""
    found = request["AlgorithmSpecification"].get("MetricDefinitions", ())
    return tuple(MetricDefinition(each["Name"], each["Regex"]) for each in found)


def status_of(record: Record, job: JobDescription | None) -> tuple[JobStatus, str]:
    """A job's status and secondary status; after its process has ended, its outputs are still being uploaded."""
    if record.get("ended"):
        return JobStatus(record["status"]), record["phases"][-1][0]
    if job is None:
        stopping = record.get("stop")
        return (JobStatus.STOPPING, "Stopping") if stopping else (JobStatus.IN_PROGRESS, record["phases"][-1][0])
    if job.status.is_final:
        stopped = job.status is JobStatus.STOPPED
        return JobStatus.STOPPING if stopped else JobStatus.IN_PROGRESS, SecondaryStatus.UPLOADING
    return job.status, job.secondary_status if job.started else record["phases"][-1][0]


def summary_of(record: Record, job: JobDescription | None) -> dict[str, Any]:
    """A job in listings."""
    status, secondary = status_of(record, job)
    summary = {
        "TrainingJobName": record["name"],
        "TrainingJobArn": record["arn"],
        "CreationTime": record["created"],
        "LastModifiedTime": record["modified"],
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
    }
    return summary | ({"TrainingEndTime": record["ended"]} if record.get("ended") else {})


def description_of(record: Record, job: JobDescription | None) -> dict[str, Any]:
    """The answer of DescribeTrainingJob."""
    request = record["request"]
    answer = described_training(request)
    output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    packed = request["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"
    answer |= summary_of(record, job)
    answer |= {
        "ModelArtifacts": {
            "S3ModelArtifacts": f"{output}/{record['name']}/output/{'model.tar.gz' if packed else 'model/'}"
        },
        "SecondaryStatusTransitions": _transitions(record, job),
    }
    if record.get("tuning_job_arn"):
        answer["TuningJobArn"] = record["tuning_job_arn"]
    if record.get("failure_reason"):
        answer["FailureReason"] = record["failure_reason"]
    if job is not None and job.started:
        answer["TrainingStartTime"] = job.started
        if job.metrics:
            answer["FinalMetricDataList"] = [
                {"MetricName": name, "Value": value, "Timestamp": job.ended or record["modified"]}
                for name, value in job.metrics.items()
            ]
        if record.get("ended"):
            seconds = max(1, round(record["ended"] - job.started))
            answer |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    answer["ProfilingStatus"] = "Enabled" if _profiles(request) else "Disabled"
    for configurations, statuses in _RULES.items():
        if request.get(configurations):
            answer[statuses] = [_rule_status(each, record) for each in request[configurations]]
    return answer


def _transitions(record: Record, job: JobDescription | None) -> list[dict[str, Any]]:
    steps = [(phase, start, "") for phase, start in record["phases"] if phase in ("Starting", "Downloading")]
    trained = False
    for each in job.transitions if job else ():
        trained = trained or each.status is SecondaryStatus.TRAINING
        if SecondaryStatus(each.status) not in _FINAL and (trained or each.status is SecondaryStatus.PENDING):
            steps.append((each.status, each.time, each.message))
    steps += [(phase, start, "") for phase, start in record["phases"] if phase not in ("Starting", "Downloading")]
    ends: Sequence[float | None] = [start for _, start, _ in steps[1:]] + [record.get("ended")]
    return [
        {"Status": status, "StartTime": start, "StatusMessage": message or str(status)}
        | ({"EndTime": end} if end is not None else {})
        for (status, start, message), end in zip(steps, ends, strict=True)
    ]


_FINAL = {
    SecondaryStatus.COMPLETED,
    SecondaryStatus.FAILED,
    SecondaryStatus.STOPPED,
    SecondaryStatus.MAX_RUNTIME_EXCEEDED,
}


def _rule_status(rule: Mapping[str, Any], record: Record) -> dict[str, Any]:
    return {
        "RuleConfigurationName": rule["RuleConfigurationName"],
        "RuleEvaluationStatus": "Error" if record.get("ended") else "InProgress",
        "StatusDetails": _NO_RULES,
        "LastModifiedTime": record["modified"],
    }


def _profiles(request: Mapping[str, Any]) -> bool:
    return "ProfilerConfig" in request and not request["ProfilerConfig"].get("DisableProfiler", False)


def _check_resources(resources: Mapping[str, Any] | None) -> None:
    if resources is None:
        _refuse("ResourceConfig must be given; serverless jobs aren't emulated by breedclf's emulator.")
    if "InstanceType" not in resources:
        _refuse(
            "InstanceGroups and InstancePreferences aren't emulated by breedclf's emulator; give ResourceConfig an "
            "InstanceType, an InstanceCount and a VolumeSizeInGB."
        )
    if resources.get("InstanceCount", 1) > 1:
        _refuse("More than one instance isn't emulated by breedclf's emulator; use InstanceCount 1.")


def _check_checkpoints(request: Mapping[str, Any]) -> None:
    local = request.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
    if local.rstrip("/") != "/opt/ml/checkpoints":
        _refuse("Only /opt/ml/checkpoints is emulated by breedclf's emulator as CheckpointConfig's LocalPath.")


def _check_channels(request: Mapping[str, Any]) -> None:
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            _refuse("Only S3DataSource is emulated by breedclf's emulator.")
        if source["S3DataType"] != "S3Prefix":
            _refuse(f"S3DataType {source['S3DataType']} isn't emulated by breedclf's emulator; use S3Prefix.")


def _output_locations(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    locations = [("OutputDataConfig", request["OutputDataConfig"]["S3OutputPath"])]
    if "CheckpointConfig" in request:
        locations.append(("CheckpointConfig", request["CheckpointConfig"]["S3Uri"]))
    return locations


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)
