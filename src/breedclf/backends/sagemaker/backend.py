"""`SageMakerBackend`: jobs, searches and endpoints on Amazon SageMaker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.backends.common.folder import home_folder
from breedclf.backends.sagemaker.clients import AwsClients, session_or_default
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.cost.rates import Rates
from breedclf.backends.sagemaker.endpoints.endpoints import Endpoints
from breedclf.backends.sagemaker.endpoints.preparation import EndpointRequests
from breedclf.backends.sagemaker.endpoints.transform_jobs import Transforms
from breedclf.backends.sagemaker.planner import Plannable, Planner
from breedclf.backends.sagemaker.s3.storage import Storage
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.jobs import TrainingJobs
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.tuning.jobs import TuningJobs
from breedclf.errors import EndpointError
from breedclf.files.paths import StrPath
from breedclf.jobs import JobDescription, JobSpec, LogTail, MetricRecord
from breedclf.jobs.endpoint_activity import EndpointActivity, EndpointCost
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointTerms
from breedclf.jobs.plan import Plan
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.tuning.native import NativeDescription, NativeSearch, NativeSummary
from breedclf.tuning.search_request import SearchRequest

if TYPE_CHECKING:
    import boto3
    from sagemaker.train.tuner import HyperparameterTuner


class SageMakerBackend:
    """Runs jobs, searches and endpoints on Amazon SageMaker, in the account of this machine's AWS credentials.

    Each field of `SageMakerSettings` is a keyword argument. Defaults come from the environment
    (`BREEDCLF_SAGEMAKER_ROLE`) or from the file named by `BREEDCLF_SAGEMAKER_CONFIG`. Creating a backend doesn't call
    AWS.

    Args:
        role: ARN of the IAM role that jobs and endpoints run as.
        bucket: S3 bucket for code, data and models; defaults to SageMaker's default bucket.
        region: AWS region; defaults to that of the session.
        session: a `boto3.Session`, for instance with a profile; defaults to boto3's default session.
        clients: AWS clients by service name, instead of those of the session.
        settings: all settings at once; other keyword arguments override them.
        home: local folder for downloads; defaults to `BREEDCLF_HOME` or `.breedclf`.
        clock: replaces the `time` module in tests.

    Raises:
        ConfigError: a setting is unknown, invalid, or conflicts with another one.

    Example:
        >>> SageMakerBackend("arn:aws:iam::111122223333:role/breedclf", "my-bucket", "eu-west-1").name
        'sagemaker'
    """

    name = "sagemaker"

    def __init__(
        self,
        role: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
        *,
        session: boto3.Session | None = None,
        clients: AwsClients | None = None,
        settings: SageMakerSettings | None = None,
        home: StrPath | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **keywords: Any,
    ) -> None:
        settings = SageMakerSettings.chosen(settings, role=role, bucket=bucket, region=region, **keywords)
        if clients is None:
            clients = AwsClients(session_or_default(session), settings.region, settings.endpoint_url)
        self._context = AwsContext(settings, clients, home_folder(home), clock)
        self._training_requests = TrainingRequests(self._context)
        self._endpoint_requests = EndpointRequests(self._context)
        self._jobs = TrainingJobs(self._context, self._training_requests)
        self._tuning = TuningJobs(self._context, self._training_requests)
        self._endpoints = Endpoints(self._context, self._endpoint_requests)
        self._transforms = Transforms(self._context)
        self._planner = Planner(self._context, self._training_requests, self._tuning, self._endpoint_requests)

    def __reduce__(self) -> tuple[Any, ...]:
        context = self._context
        keywords: dict[str, Any] = {"settings": context.settings, "clients": context.clients, "home": context.home}
        return partial(type(self), **keywords, clock=context.clock), ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SageMakerBackend) and self._context.identity == other._context.identity

    def __hash__(self) -> int:
        return hash(self._context.identity)

    def __repr__(self) -> str:
        return f"SageMakerBackend(region={self.settings.region!r}, bucket={self.settings.bucket!r})"

    @property
    def label(self) -> str:
        """What pages call it: "emulator" if its calls go to one, otherwise "sagemaker"."""
        url = self.settings.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        return "emulator" if url else self.name

    @property
    def context(self) -> AwsContext:
        """Account, region, owner, bucket and tags, shared by all parts of the backend."""
        return self._context

    @property
    def settings(self) -> SageMakerSettings:
        """The settings."""
        return self._context.settings

    @property
    def clients(self) -> AwsClients:
        """The boto3 clients by service name: `backend.clients("s3")`."""
        return self._context.clients

    @property
    def storage(self) -> Storage:
        """Objects in S3, encrypted with the key of the settings."""
        return self._context.storage

    @property
    def rates(self) -> Rates:
        """The rate table: the one in the settings, or the one that ships with breedclf."""
        return self._context.rates

    @property
    def home(self) -> Path:
        """The local folder for downloads."""
        return self._context.home

    def uri(self, *parts: str) -> str:
        """The S3 URI of a path below the prefix: `backend.uri("data", "dogs")`."""
        return self._context.uri(*parts)

    # Jobs

    @property
    def poll_seconds(self) -> float:
        """Minimum seconds between two status requests."""
        return self._jobs.poll_seconds

    @property
    def delay_seconds(self) -> float:
        """Seconds after a job's end during which CloudWatch may still deliver log lines and metrics."""
        return self._jobs.delay_seconds

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The parameters of CreateTrainingJob; nothing is uploaded or sent.

        Raises:
            ConfigError: the job isn't possible with these settings.
        """
        return self._training_requests.planned(spec)

    def submit(self, spec: JobSpec) -> None:
        """Upload missing inputs and start the job, which then runs independently of this process.

        Raises:
            ConfigError: the name is taken, an input doesn't exist, or the request is invalid.
            DataError: training on the images would fail.
            JobError: SageMaker refuses, for instance because of a quota.
        """
        self._jobs.submit(spec)

    def describe(self, name: str) -> JobDescription:
        """The current description of a job.

        Raises:
            JobError: there is no such job, or it can't be described.
        """
        return self._jobs.describe(name)

    def list_jobs(self) -> list[JobDescription]:
        """All jobs that breedclf created here, oldest first; other processes' jobs appear after some seconds."""
        return self._jobs.list_all()

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        """The job's log from a position (0 is the start), and the position of its end."""
        return self._jobs.read_log(name, position)

    def log_tail(self, name: str, max_bytes: int) -> LogTail:
        """The last lines of the job's log, in one or two calls however long it is."""
        return self._jobs.log_tail(name, max_bytes)

    def metric_history(self, name: str) -> list[MetricRecord]:
        """All metrics that the job reported, in order."""
        return self._jobs.metric_history(name)

    def stop(self, name: str) -> None:
        """Stop the job: SIGTERM and, two minutes later, SIGKILL; does nothing if it has ended."""
        self._jobs.stop(name)

    def artifact(self, name: str) -> Path:
        """Local folder with the job's model, downloaded once.

        Raises:
            JobError: the job hasn't ended, or left no model.
        """
        return self._jobs.artifact(name)

    def output(self, name: str) -> Path:
        """Local folder with everything else that the job wrote, downloaded once.

        Raises:
            JobError: the job hasn't ended.
        """
        return self._jobs.output(name)

    def output_here(self, job: JobDescription) -> Path:
        """The local folder that `output` fills; nothing is downloaded."""
        return self._jobs.output_here(job)

    def delete(self, name: str) -> None:
        """Delete a job that has ended: its output in S3, its log (if permitted) and its record.

        Raises:
            JobError: there is no such job, it hasn't ended, or something can't be deleted.
        """
        self._jobs.delete(name)

    # Searches

    def create_tuning(self, search: NativeSearch) -> None:
        """Start the search, once even if the response of SageMaker is lost.

        Raises:
            ConfigError: the name is taken, the search isn't supported, or it may cost too much.
            JobError: SageMaker refuses.
        """
        self._tuning.create_tuning(search)

    def describe_tuning(self, name: str) -> NativeDescription | None:
        """The state of a tuning job with all its training jobs, oldest first; None if there is none of that name."""
        return self._tuning.describe_tuning(name)

    def list_tunings(self) -> list[NativeSummary]:
        """All tuning jobs in the account and region, those of other programs included, without their training jobs."""
        return self._tuning.list_tunings()

    def stop_tuning(self, name: str) -> None:
        """Stop a tuning job and its training jobs; does nothing if it has ended or doesn't exist."""
        self._tuning.stop_tuning(name)

    def find_tuning(self, name: str) -> SearchRequest:
        """The request of an existing tuning job.

        Raises:
            ConfigError: there is none of that name, or breedclf didn't create it.
        """
        return self._tuning.find_tuning(name)

    def sdk_tuner(self, search: NativeSearch) -> HyperparameterTuner:
        """The SageMaker SDK's tuner, configured like this search; the inputs of its jobs are uploaded.

        Raises:
            ConfigError: the search may cost too much, or the SDK's tuner doesn't support a part of it.
            MissingExtraError: the SDK isn't installed.
        """
        return self._tuning.sdk_tuner(search)

    # Endpoints and batch transforms

    @property
    def endpoint_terms(self) -> EndpointTerms:
        """Timeouts and the maximum request size of endpoints."""
        return self._endpoints.terms

    def requests_for_endpoint(self, spec: EndpointSpec) -> dict[str, dict[str, Any]]:
        """The parameters of each operation that `create_endpoint` calls; nothing is uploaded or sent.

        Raises:
            ConfigError: SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
        """
        return {call.operation: dict(call.parameters) for call in self._endpoint_requests.planned(spec)}

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Upload the model, unless S3 has it, and create the endpoint.

        Raises:
            ConfigError: the name is taken, or SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
            EndpointError: SageMaker refuses, for instance because of a quota.
        """
        self._endpoints.create(spec)

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """The current description; checks the answers of a new generation, which is in service once they are correct.

        Raises:
            EndpointError: there is no such endpoint.
        """
        return self._endpoints.describe(name)

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints that breedclf created here, oldest first; no predictions are requested."""
        return self._endpoints.list_all()

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Start to replace the model; the previous one stays if the new one doesn't start or answers incorrectly.

        Raises:
            EndpointError: there is no such endpoint, it isn't in service, or breedclf didn't create it.
            ArtifactError: the folder contains no model.
            ConfigError: SageMaker doesn't support the settings, or can't change the endpoint to this type.
        """
        return self._endpoints.update(name, artifact)

    def delete_endpoint(self, name: str) -> None:
        """Delete the endpoint with its models and configurations; the model archives stay in S3.

        Raises:
            EndpointError: there is no such endpoint, breedclf didn't create it, or SageMaker is changing it; in that
                case it is marked as expired.
        """
        self._endpoints.delete(name)

    def reap_endpoints(self) -> list[str]:
        """Delete failed and expired endpoints; returns their names."""
        return self._endpoints.reap()

    def invoke_endpoint(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        """Send a request; retried until the timeout while SageMaker or the model is busy.

        Raises:
            ModelError: the model's server rejected the request.
            EndpointError: there is no such endpoint, the request is too large for it, or the timeout has passed.
        """
        return self._endpoints.invoke(
            name, body, content_type=content_type, timeout_seconds=timeout_seconds, attributes=attributes
        )

    def endpoint_activity(self, name: str) -> EndpointActivity:
        """The requests of the last hour by CloudWatch; EndpointError without permission cloudwatch:GetMetricData."""
        return self._endpoints.figures.activity(name)

    def endpoint_cost(self, name: str) -> EndpointCost:
        """What the endpoint's present machines cost, from its creation to now; EndpointError if there is none."""
        return self._endpoints.figures.cost(name)

    def transform_images(
        self, artifact: Path, images: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """Predict images with one batch transform; yields each name with the server's response or an error.

        Raises:
            ConfigError: SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
            EndpointError: the job ended without any predictions.
        """
        return self._transforms.transform_images(artifact, images)

    # Cost

    def plan(self, what: Plannable, *, dry_run: bool = False) -> Plan:
        """What a job, a search or an endpoint would create, cost at most and need; nothing is uploaded or sent.

        Args:
            what: a job, a search or an endpoint.
            dry_run: also print the exact requests as JSON, which `plan.requests()` returns as well.

        Raises:
            ConfigError: a request is invalid, or `max_cost` is set and the cost may exceed it.
        """
        return self._planner.plan(what, dry_run=dry_run)
