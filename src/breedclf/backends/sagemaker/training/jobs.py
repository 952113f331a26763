"""Training jobs on SageMaker: submitted, watched, stopped, fetched and forgotten by name."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import AwsClients, error_code, error_message, told
from breedclf.backends.sagemaker.context import TAG, Place
from breedclf.backends.sagemaker.refusals import (
    is_missing,
    is_refused,
    is_there,
    may_be_taken,
    may_have_ended,
    was_sent_again,
)
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.debugger import without_debugger
from breedclf.backends.sagemaker.training.description import description_of
from breedclf.backends.sagemaker.training.images import debugger_image, training_image
from breedclf.backends.sagemaker.training.inputs import Inputs, require_trainable
from breedclf.backends.sagemaker.training.logs import JobLogs
from breedclf.backends.sagemaker.training.request import JobImages, JobPlaces, training_request
from breedclf.backends.sagemaker.training.results import fetch_archive, fetch_debugger, job_uri
from breedclf.errors import BreedclfError, ConfigError, JobError
from breedclf.jobs import JobDescription, JobSpec, MetricRecord, check_name, seconds_until_complete
from breedclf.jobs.handle import Clock, require_ended
from breedclf.jobs.metric_lines import MetricDefinition, match_metrics

log: logging.Logger = logging.getLogger(__name__)

_CONSISTENT_SECONDS = 60.0
_CONSISTENT_PAUSE_SECONDS = 1.0
_LATER = "s3://to-be-uploaded"  # where things go is known once they are hashed
_SINGLE_PRECISION = 1e-5  # relative: SageMaker returns the final values as 32-bit floats


class TrainingJobs(Place):
    """The jobs of one account and region; any number of processes may look at them."""

    def __init__(
        self, settings: SageMakerSettings, clients: AwsClients, *, home: str | Path | None, clock: Clock
    ) -> None:
        super().__init__(settings, clients, home=home, clock=clock)
        self.inputs = Inputs(self)
        self._logs: JobLogs | None = None
        self._created: dict[str, float] = {}
        self._submitted: dict[str, float] = {}
        self._unlisted: dict[str, float] = {}

    @property
    def poll_seconds(self) -> float:
        """How long to wait, at least, between two looks at a job."""
        return self.settings.poll_seconds

    @property
    def delay_seconds(self) -> float:
        """How many seconds after a job's end CloudWatch may still bring log lines and metrics of it."""
        return self.settings.delay_seconds

    @property
    def logs(self) -> JobLogs:
        """The jobs' logs in CloudWatch."""
        if self._logs is None:
            self._logs = JobLogs(self.clients("logs"))
        return self._logs

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The request that CreateTrainingJob would get, without uploading or sending anything.

        Raises:
            ConfigError: the job can't be met as it is asked for.
        """
        return self._request(spec, self.inputs.planned(spec), self.tags("training", spec.tags))

    def prepared(self, spec: JobSpec, *, check_name: Callable[[], object]) -> dict[str, Any]:
        """The same, after what the job reads was uploaded; `check_name` asks AWS for the name just before.

        Raises:
            ConfigError: the job can't be met as it is asked for.
            DataError: its pictures would end the training at once.
        """
        tags = self.tags("training", spec.tags)
        planned = self._request(spec, JobPlaces(_LATER, dict.fromkeys(spec.channels, _LATER), _LATER), tags)
        self.check_cost([ApiCall("CreateTrainingJob", planned).checked(self.region)])
        require_trainable(spec)
        check_name()
        self.check_bucket()
        return self._request(spec, self.inputs.sent(spec), self.tags("training", spec.tags, owned=True))

    def submit(self, spec: JobSpec) -> None:
        """Upload what S3 lacks and start the job; it goes on without this process.

        Raises:
            ConfigError: the name is taken, an input isn't there, or the request can't be met.
            DataError: the pictures would end the training at once.
            JobError: SageMaker refuses, for instance since a quota is used up.
        """
        request = self.prepared(spec, check_name=lambda: self._check_name(spec.name))
        self.forget(spec.name)
        began = self._clock.time()
        with told(f"submitting job {spec.name}", JobError):
            try:
                self._create(request)
            except ClientError as error:
                if not (may_be_taken(error) and self._is_there(spec.name)):
                    raise
                if not self._is_ours(request, error, began):
                    raise _taken(spec.name) from error
        self._submitted[spec.name] = self._unlisted[spec.name] = self._clock.monotonic()

    def describe(self, name: str) -> JobDescription:
        """What is known about the job now.

        Raises:
            JobError: there is no such job, or it can't be asked for.
        """
        return description_of(self.answer(name))

    def answer(self, name: str) -> dict[str, Any]:
        """What DescribeTrainingJob answers.

        Raises:
            JobError: there is no such job, or it can't be asked for.
        """
        check_name(name)
        while True:
            with told(f"asking for job {name}", JobError):
                try:
                    answer: dict[str, Any] = self.clients("sagemaker").describe_training_job(TrainingJobName=name)
                except ClientError as error:
                    if not is_missing(error):
                        raise
                    if self._was_just_submitted(name):  # not every part of AWS knows of it yet
                        self._clock.sleep(_CONSISTENT_PAUSE_SECONDS)
                        continue
                    raise JobError(f"there is no job {name} in {self.region}") from error
            self._submitted.pop(name, None)
            self._created[name] = answer["CreationTime"].timestamp()
            return answer

    def list_jobs(self) -> list[JobDescription]:
        """All jobs that breedclf made here, the oldest first.

        Search finds a job only some seconds after it was submitted: those of this object are asked for by name
        meanwhile, those that other processes just submitted are missing.
        """
        ours = {"Filters": [{"Name": f"Tags.{TAG}", "Operator": "Exists"}]}
        with told("listing jobs", JobError):
            pages = (
                self.clients("sagemaker")
                .get_paginator("search")
                .paginate(Resource="TrainingJob", SearchExpression=ours, SortBy="CreationTime", SortOrder="Ascending")
            )
            found = [description_of(each["TrainingJob"]) for page in pages for each in page["Results"]]
        found += self._not_yet_found({job.name for job in found})
        return sorted(found, key=lambda job: (job.created, job.name))

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a position (0 is its begin), and the position to go on from."""
        events, after = self.logs.read(name, position, created=self._created_at(name))
        return "".join(f"{event.message}\n" for event in events), after

    def metric_history(self, name: str) -> list[MetricRecord]:
        """Everything that the job's metric lines reported, in order.

        What the log of an ended job says last is compared with SageMaker's final values: where it falls short, it is
        read again once its last lines must have arrived. A value that it still lacks, or all of them where the log is
        gone or may not be read, comes from SageMaker as a last record.
        """
        answer = self.answer(name)
        records = self._readable_records(name, answer)
        late = seconds_until_complete(self, description_of(answer), self._clock.time())
        if late and (not _final_values(answer) or values_missing(records, _final_values(answer))):
            self._clock.sleep(late)
            answer = self.answer(name)
            records = self._readable_records(name, answer)
        ended = description_of(answer).status.is_final
        missing = values_missing(records, _final_values(answer)) if ended or not records else {}
        if missing:
            if records:
                log.warning("the log of job %s lacks the final value of %s", name, ", ".join(sorted(missing)))
            moment = max(each["Timestamp"] for each in answer["FinalMetricDataList"]).timestamp()
            records.append(MetricRecord(moment, missing))
        return records

    def stop(self, name: str) -> None:
        """Ask the job to end: SIGTERM and, two minutes later, SIGKILL; nothing happens to one that has ended."""
        check_name(name)
        with told(f"stopping job {name}", JobError):
            try:
                self.clients("sagemaker").stop_training_job(TrainingJobName=name)
            except ClientError as error:
                if not may_have_ended(error):
                    raise
                if not self.describe(name).status.is_final:
                    raise

    def artifact(self, name: str) -> Path:
        """A folder on this machine with the job's model, fetched once.

        Raises:
            JobError: the job hasn't ended, or left no model.
        """
        answer = self.answer(name)
        description = description_of(answer)
        require_ended(description)
        uri = description.details.get("model") or f"{job_uri(answer)}/output/model.tar.gz"
        folder = self._folder(description) / "model"
        if not fetch_archive(self.storage, uri, folder) or not any(folder.iterdir()):
            reason = f": {description.failure_reason}" if description.failure_reason else ""
            raise JobError(f"job {name} left no model; it is {description.status}{reason}")
        return folder

    def output(self, name: str) -> Path:
        """A folder on this machine with everything else that the job wrote, fetched once.

        What SageMaker Debugger wrote of it lies there, too, in `profiler-output` and `rule-output`.

        Raises:
            JobError: the job hasn't ended.
        """
        answer = self.answer(name)
        description = description_of(answer)
        require_ended(description)
        folder = self._folder(description) / "output"
        if not fetch_archive(self.storage, f"{job_uri(answer)}/output/output.tar.gz", folder):
            folder.mkdir(parents=True, exist_ok=True)
        fetch_debugger(self.storage, answer, folder)
        return folder

    def delete(self, name: str) -> None:
        """Forget a job that has ended: what it wrote to S3, its log (where that is permitted) and the job itself.

        Raises:
            JobError: there is no such job, it hasn't ended, or something can't be deleted.
        """
        answer = self.answer(name)
        description = description_of(answer)
        require_ended(description)
        self.storage.delete(job_uri(answer))
        with told(f"deleting job {name}", JobError):
            self.clients("sagemaker").delete_training_job(TrainingJobName=name)
        try:
            self.logs.delete(name)
        except BreedclfError as error:
            log.warning("%s; CloudWatch keeps it as long as its log group says", error)
        shutil.rmtree(self._folder(description), ignore_errors=True)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Drop what this object remembers of a job of this name."""
        self._created.pop(name, None)
        self._submitted.pop(name, None)
        self._unlisted.pop(name, None)
        if self._logs is not None:
            self._logs.forget(name)

    def _request(self, spec: JobSpec, places: JobPlaces, tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        settings = self.settings
        return training_request(
            spec,
            settings,
            role=self.role,
            images=JobImages(
                training=settings.image or training_image(self.region, settings.instance_type),
                debugger=self._debugger_image() if settings.debugger else None,
            ),
            places=places,
            tags=tags,
        )

    def _debugger_image(self) -> str | None:
        try:
            return debugger_image(self.region)
        except ConfigError as error:
            log.warning(
                "%s; the job runs without SageMaker Debugger, and breedclf's own profile comes with its output", error
            )
            return None

    def _create(self, request: dict[str, Any]) -> None:
        client = self.clients("sagemaker")
        try:
            client.create_training_job(**request)
        except ClientError as error:
            plain = without_debugger(request)
            if plain == request or not _may_refuse_debugger(error):
                raise
            client.create_training_job(**plain)
            log.warning(
                "this account has no SageMaker Debugger (%s; AWS closed it to new customers on 2026-07-30); the job "
                "runs without it, and breedclf's own profile comes with its output",
                error_message(error),
            )

    def _is_ours(self, request: dict[str, Any], error: ClientError, began: float) -> bool:
        """Whether the name is taken by this very request, whose first answer got lost so that it was sent again."""
        if not was_sent_again(error):
            return False
        found = self.answer(request["TrainingJobName"])
        return found["HyperParameters"] == request["HyperParameters"] and self._created[request["TrainingJobName"]] >= (
            began - _CONSISTENT_SECONDS
        )

    def _not_yet_found(self, found: set[str]) -> list[JobDescription]:
        """The jobs that this object submitted and Search doesn't know of yet."""
        now = self._clock.monotonic()
        self._unlisted = {
            name: submitted
            for name, submitted in self._unlisted.items()
            if name not in found and now - submitted < _CONSISTENT_SECONDS
        }
        missing = []
        for name in self._unlisted:
            with contextlib.suppress(JobError):  # another process has deleted it
                missing.append(self.describe(name))
        return missing

    def _check_name(self, name: str) -> None:
        if self._is_there(name):
            raise _taken(name)

    def _is_there(self, name: str) -> bool:
        """Whether the account has a training job of that name."""
        with told(f"looking whether job name {name} is taken", JobError):
            describe = self.clients("sagemaker").describe_training_job
            return is_there(lambda: describe(TrainingJobName=name))

    def _was_just_submitted(self, name: str) -> bool:
        submitted = self._submitted.get(name)
        return submitted is not None and self._clock.monotonic() - submitted < _CONSISTENT_SECONDS

    def _created_at(self, name: str) -> float:
        if name not in self._created:
            self.answer(name)
        return self._created[name]

    def _readable_records(self, name: str, answer: Mapping[str, Any]) -> list[MetricRecord]:
        definitions = [
            MetricDefinition(each["Name"], each["Regex"])
            for each in answer["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]
        try:
            return list(self._records(name, definitions))
        except JobError as error:
            log.warning("%s; of its metrics only the last values are known", error)
            return []

    def _records(self, name: str, definitions: list[MetricDefinition]) -> Iterator[MetricRecord]:
        position = 0
        while True:
            events, position = self.logs.read(name, position, created=self._created[name])
            if not events:
                return
            for event in events:
                if values := match_metrics(event.message, definitions):
                    yield MetricRecord(event.time, values)

    def _folder(self, description: JobDescription) -> Path:
        """Where what was fetched lies; a later job of the same name gets another place."""
        return self.home / "sagemaker" / f"{description.name}-{description.created:.0f}"


def _taken(name: str) -> ConfigError:
    return ConfigError(f"job name {name!r} is taken; choose another")


def values_missing(records: Sequence[MetricRecord], final: Mapping[str, float]) -> dict[str, float]:
    """The final values that differ from what was recorded last, or were never recorded.

    Example:
        >>> values_missing([MetricRecord(0, {"loss": 0.5})], {"loss": 0.5, "accuracy": 0.9})
        {'accuracy': 0.9}
    """
    last: dict[str, float] = {}
    for record in records:
        last |= record.values
    return {
        name: value
        for name, value in final.items()
        if name not in last or not math.isclose(last[name], value, rel_tol=_SINGLE_PRECISION)
    }


def _final_values(answer: Mapping[str, Any]) -> dict[str, float]:
    return {each["MetricName"]: float(each["Value"]) for each in answer.get("FinalMetricDataList") or ()}


def _may_refuse_debugger(error: ClientError) -> bool:
    """Whether the request may pass without the debugger's part, which only sending it so can tell."""
    return is_refused(error) or error_code(error) == "AccessDeniedException"
