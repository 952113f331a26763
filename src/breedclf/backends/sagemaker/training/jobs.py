"""Training jobs on SageMaker: submit, describe, stop, fetch and delete them by name."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import (
    error_code,
    error_message,
    exists,
    is_invalid,
    is_missing,
    may_be_taken,
    may_have_ended,
    translate_aws_errors,
    was_retried,
)
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.tags import TAG
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.backends.sagemaker.training.debugger import without_debugger
from breedclf.backends.sagemaker.training.description import description_of, final_metrics
from breedclf.backends.sagemaker.training.logs import JobLogs
from breedclf.backends.sagemaker.training.metrics import logged_metrics, missing_values, with_final_values
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.training.recent import CONSISTENT_SECONDS, RecentJobs
from breedclf.backends.sagemaker.training.results import fetch_archive, fetch_debugger, job_uri
from breedclf.errors import BreedclfError, ConfigError, JobError
from breedclf.jobs import JobDescription, JobSpec, LogTail, MetricRecord, check_name, seconds_until_complete
from breedclf.jobs.handle import require_ended

log: logging.Logger = logging.getLogger(__name__)

_CONSISTENT_PAUSE_SECONDS = 1.0
_TAIL_LINES = 500


class TrainingJobs:
    """The training jobs of one account and region; any number of processes may use them."""

    def __init__(self, context: AwsContext, requests: TrainingRequests) -> None:
        self._context = context
        self._requests = requests
        self._logs = JobLogs(lambda: context.clients("logs"))
        self._recent = RecentJobs(context.clock)
        self._created: dict[str, float] = {}

    @property
    def poll_seconds(self) -> float:
        """Minimum seconds between two status requests."""
        return self._context.settings.poll_seconds

    @property
    def delay_seconds(self) -> float:
        """Seconds after a job's end during which CloudWatch may still deliver log lines and metrics."""
        return self._context.settings.delay_seconds

    def submit(self, spec: JobSpec) -> None:
        """Upload missing inputs and start the job, which then runs independently of this process.

        Raises:
            ConfigError: the name is taken, an input doesn't exist, or the request is invalid.
            DataError: training on the images would fail.
            JobError: SageMaker refuses, for instance because of a quota.
        """
        request = self._requests.prepared(spec, check_name=lambda: self._check_name(spec.name))
        self._forget(spec.name)
        started = self._context.clock.time()
        with translate_aws_errors(f"submitting job {spec.name}", as_=JobError):
            try:
                self._create(request)
            except ClientError as error:
                if not (may_be_taken(error) and self._exists(spec.name)):
                    raise
                if not self._is_ours(request, error, started):
                    raise _taken(spec.name) from error
        self._recent.add(spec.name)

    def describe(self, name: str) -> JobDescription:
        """The current description of a job.

        Raises:
            JobError: there is no such job, or it can't be described.
        """
        return description_of(self._answer(name))

    def list_all(self) -> list[JobDescription]:
        """All jobs that breedclf created here, oldest first.

        Search lists a job only some seconds after it was submitted. Jobs that this object submitted are described
        individually until then; those that other processes just submitted are missing.
        """
        tagged = {"Filters": [{"Name": f"Tags.{TAG}", "Operator": "Exists"}]}
        with translate_aws_errors("listing jobs", as_=JobError):
            pages = (
                self._context.clients("sagemaker")
                .get_paginator("search")
                .paginate(Resource="TrainingJob", SearchExpression=tagged, SortBy="CreationTime", SortOrder="Ascending")
            )
            found = [description_of(each["TrainingJob"]) for page in pages for each in page["Results"]]
        for name in self._recent.unlisted({job.name for job in found}):
            with contextlib.suppress(JobError):  # another process has deleted it
                found.append(self.describe(name))
        return sorted(found, key=lambda job: (job.created, job.name))

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a position (0 is the start), and the position of its end."""
        if name not in self._created:
            self._answer(name)
        events, after = self._logs.read(name, position, created=self._created[name])
        return "".join(f"{event.message}\n" for event in events), after

    def log_tail(self, name: str, max_bytes: int) -> LogTail:
        """The last lines of the job's log, at most `max_bytes` of them; CloudWatch doesn't tell the log's length."""
        if name not in self._created:
            self._answer(name)
        events = self._logs.tail(name, _TAIL_LINES, created=self._created[name])
        text = "".join(f"{event.message}\n" for event in events)
        return LogTail(text if len(text) <= max_bytes else text[-max_bytes:].partition("\n")[2])

    def metric_history(self, name: str) -> list[MetricRecord]:
        """All metrics that the job reported, in order.

        After the job has ended, the last logged values are compared with SageMaker's final values. If some are missing,
        the log is read again once its last lines must have arrived. Values that are still missing (all of them if the
        log can't be read) are taken from SageMaker as a last record.
        """
        answer = self._answer(name)
        records = logged_metrics(self._logs, answer)
        late = seconds_until_complete(self, description_of(answer), self._context.clock.time())
        if late and (not final_metrics(answer) or missing_values(records, final_metrics(answer))):
            self._context.clock.sleep(late)
            answer = self._answer(name)
            records = logged_metrics(self._logs, answer)
        return with_final_values(records, answer, ended=description_of(answer).status.is_final)

    def stop(self, name: str) -> None:
        """Stop the job: SIGTERM and, two minutes later, SIGKILL; does nothing if it has ended."""
        check_name(name)
        with translate_aws_errors(f"stopping job {name}", as_=JobError):
            try:
                self._context.clients("sagemaker").stop_training_job(TrainingJobName=name)
            except ClientError as error:
                if not may_have_ended(error):
                    raise
                if not self.describe(name).status.is_final:
                    raise

    def artifact(self, name: str) -> Path:
        """Local folder with the job's model, downloaded once.

        Raises:
            JobError: the job hasn't ended, or left no model.
        """
        answer = self._answer(name)
        description = description_of(answer)
        require_ended(description)
        uri = description.details.get("model") or f"{job_uri(answer)}/output/model.tar.gz"
        folder = self._folder(description) / "model"
        if not fetch_archive(self._context.storage, uri, folder) or not any(folder.iterdir()):
            reason = f": {description.failure_reason}" if description.failure_reason else ""
            raise JobError(f"job {name} left no model; its status is {description.status}{reason}")
        return folder

    def output(self, name: str) -> Path:
        """Local folder with everything else that the job wrote, downloaded once.

        Files of SageMaker Debugger are in `profiler-output` and `rule-output`.

        Raises:
            JobError: the job hasn't ended.
        """
        answer = self._answer(name)
        description = description_of(answer)
        require_ended(description)
        folder = self.output_here(description)
        if not fetch_archive(self._context.storage, f"{job_uri(answer)}/output/output.tar.gz", folder):
            folder.mkdir(parents=True, exist_ok=True)
        fetch_debugger(self._context.storage, answer, folder)
        return folder

    def output_here(self, description: JobDescription) -> Path:
        """The local folder that `output` fills; nothing is downloaded."""
        return self._folder(description) / "output"

    def delete(self, name: str) -> None:
        """Delete a job that has ended: its output in S3, its log (if permitted) and its record.

        Raises:
            JobError: there is no such job, it hasn't ended, or something can't be deleted.
        """
        answer = self._answer(name)
        description = description_of(answer)
        require_ended(description)
        self._context.storage.delete(job_uri(answer))
        with translate_aws_errors(f"deleting job {name}", as_=JobError):
            self._context.clients("sagemaker").delete_training_job(TrainingJobName=name)
        try:
            self._logs.delete(name)
        except BreedclfError as error:
            log.warning("%s; CloudWatch keeps it for the retention time of its log group", error)
        shutil.rmtree(self._folder(description), ignore_errors=True)
        self._forget(name)

    def _answer(self, name: str) -> dict[str, Any]:
        """The response of DescribeTrainingJob."""
        check_name(name)
        while True:
            with translate_aws_errors(f"describing job {name}", as_=JobError):
                try:
                    client = self._context.clients("sagemaker")
                    answer: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
                except ClientError as error:
                    if not is_missing(error):
                        raise
                    if self._recent.may_appear(name):
                        self._context.clock.sleep(_CONSISTENT_PAUSE_SECONDS)
                        continue
                    raise JobError(f"there is no job {name} in {self._context.region}") from error
            self._recent.described(name)
            self._created[name] = epoch_seconds(answer["CreationTime"])
            return answer

    def _create(self, request: dict[str, Any]) -> None:
        client = self._context.clients("sagemaker")
        try:
            client.create_training_job(**request)
        except ClientError as error:
            plain = without_debugger(request)
            if plain == request or not _may_reject_debugger(error):
                raise
            client.create_training_job(**plain)
            log.warning(
                "this account has no SageMaker Debugger (%s; AWS closed it to new customers on 2026-07-30); the job "
                "runs without it; its output contains breedclf's own profile",
                error_message(error),
            )

    def _is_ours(self, request: dict[str, Any], error: ClientError, started: float) -> bool:
        """Whether this very request created the job: boto3 sent it again after a lost response."""
        if not was_retried(error):
            return False
        found = self._answer(request["TrainingJobName"])
        created = epoch_seconds(found["CreationTime"])
        return bool(found["HyperParameters"] == request["HyperParameters"]) and created >= started - CONSISTENT_SECONDS

    def _check_name(self, name: str) -> None:
        if self._exists(name):
            raise _taken(name)

    def _exists(self, name: str) -> bool:
        with translate_aws_errors(f"checking whether job name {name} is taken", as_=JobError):
            describe = self._context.clients("sagemaker").describe_training_job
            return exists(lambda: describe(TrainingJobName=name))

    def _forget(self, name: str) -> None:
        """Drop cached facts about a job, since another one may get its name."""
        self._created.pop(name, None)
        self._recent.forget(name)
        self._logs.forget(name)

    def _folder(self, description: JobDescription) -> Path:
        """Local folder for downloads; a later job of the same name gets another one."""
        return self._context.home / "sagemaker" / f"{description.name}-{description.created:.0f}"


def _taken(name: str) -> ConfigError:
    return ConfigError(f"job name {name!r} is taken; choose another")


def _may_reject_debugger(error: ClientError) -> bool:
    """Whether the request may succeed without its Debugger part; only sending it can tell."""
    return is_invalid(error) or error_code(error) == "AccessDeniedException"
