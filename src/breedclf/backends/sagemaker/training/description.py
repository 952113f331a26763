"""`JobDescription` from the responses of DescribeTrainingJob and Search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from breedclf.backends.common.failure import describe_exit_code
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.backends.sagemaker.training.debugger import rule_statuses
from breedclf.backends.sagemaker.training.request import own_hyperparameters
from breedclf.jobs import JobDescription, JobStatus, SecondaryStatus, Transition

# SageMaker's own statuses, beyond those that every backend has.
_SECONDARY = {
    "LaunchingMLInstances": SecondaryStatus.STARTING,
    "PreparingTrainingStack": SecondaryStatus.STARTING,
    "DownloadingTrainingImage": SecondaryStatus.DOWNLOADING,
    "MaxWaitTimeExceeded": SecondaryStatus.MAX_RUNTIME_EXCEEDED,
    "Updating": SecondaryStatus.TRAINING,
}
_SECONDARY_BY_STATUS = {
    JobStatus.IN_PROGRESS: SecondaryStatus.PENDING,
    JobStatus.STOPPING: SecondaryStatus.STOPPING,
    JobStatus.STOPPED: SecondaryStatus.STOPPED,
    JobStatus.COMPLETED: SecondaryStatus.COMPLETED,
    JobStatus.FAILED: SecondaryStatus.FAILED,
}
_TOOLKIT_REASON = re.compile(r"ExecuteUserScriptError:\s*ExitCode (\d+)\s*ErrorMessage \"(.*?)\"", re.DOTALL)
_SIGNALLED = 128
_REASON_PREFIXES = ("AlgorithmError: ", "ClientError: ")


def description_of(answer: Mapping[str, Any]) -> JobDescription:
    """The description of a job; `details` contains facts specific to SageMaker, including the statuses of rules."""
    status = JobStatus(answer["TrainingJobStatus"])
    return JobDescription(
        name=answer["TrainingJobName"],
        status=status,
        secondary_status=_secondary(answer.get("SecondaryStatus"), status),
        created=epoch_seconds(answer["CreationTime"]),
        started=epoch_seconds(answer.get("TrainingStartTime")),
        ended=epoch_seconds(answer.get("TrainingEndTime")),
        failure_reason=_reason(answer.get("FailureReason")) if status is JobStatus.FAILED else None,
        hyperparameters=own_hyperparameters(answer.get("HyperParameters") or {}),
        metrics=final_metrics(answer),
        transitions=tuple(
            Transition(
                _secondary(each.get("Status"), status),
                epoch_seconds(each["StartTime"]),
                each.get("StatusMessage") or "",
            )
            for each in answer.get("SecondaryStatusTransitions") or ()
        ),
        tags={each["Key"]: each["Value"] for each in answer.get("Tags") or ()},
        details=_details(answer),
    )


def final_metrics(answer: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric, as SageMaker recorded it."""
    return {each["MetricName"]: float(each["Value"]) for each in answer.get("FinalMetricDataList") or ()}


def _details(answer: Mapping[str, Any]) -> dict[str, Any]:
    machines = answer.get("ResourceConfig") or {}
    known = {
        "arn": answer.get("TrainingJobArn"),
        "tuning_job_arn": answer.get("TuningJobArn"),
        "instance_type": machines.get("InstanceType"),
        "instance_count": machines.get("InstanceCount"),
        "image": (answer.get("AlgorithmSpecification") or {}).get("TrainingImage"),
        "spot": answer.get("EnableManagedSpotTraining"),
        "training_seconds": answer.get("TrainingTimeInSeconds"),
        "billable_seconds": answer.get("BillableTimeInSeconds"),
        "model": (answer.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
        "output": (answer.get("OutputDataConfig") or {}).get("S3OutputPath"),
        **rule_statuses(answer),
    }
    return {key: value for key, value in known.items() if value is not None}


def _secondary(word: str | None, status: JobStatus) -> SecondaryStatus:
    try:
        return SecondaryStatus(word or "")
    except ValueError:
        return _SECONDARY.get(word or "", _SECONDARY_BY_STATUS[status])


def _reason(text: str | None) -> str | None:
    """The failure reason without SageMaker's error class, and with the toolkit's exit code explained.

    Example:
        >>> _reason('AlgorithmError: ExecuteUserScriptError:\\nExitCode 139\\nErrorMessage ""\\nCommand "train.py"')
        "the job's process was ended by SIGSEGV (signal 11)"
    """
    for prefix in _REASON_PREFIXES:
        if text and text.startswith(prefix):
            text = text.removeprefix(prefix)
    if text and (toolkit := _TOOLKIT_REASON.match(text)):
        code = int(toolkit[1])
        words = describe_exit_code(_SIGNALLED - code if code > _SIGNALLED else code)
        message = " ".join(toolkit[2].split())
        return f"{words}; {message}" if message else words
    return text
