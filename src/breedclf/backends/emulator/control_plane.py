"""The emulator's operations by name, over one store, one S3 and one local backend."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.backends.common.folder import job_folder
from breedclf.backends.emulator.access.keys import Access, Credentials, KeyRing, private_folder
from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.identity import answer_identity
from breedclf.backends.emulator.jobs.training import TrainingJobs
from breedclf.backends.emulator.jobs.training_runs import TrainingRuns
from breedclf.backends.emulator.jobs.transform import TRANSFORM_GROUP, TransformJobs
from breedclf.backends.emulator.jobs.tuning import TuningJobs
from breedclf.backends.emulator.jobs.tuning_runs import TuningRuns
from breedclf.backends.emulator.logs import TRAINING_GROUP, Logs, Stream
from breedclf.backends.emulator.pipelines.executions import Executions
from breedclf.backends.emulator.pipelines.operations import Pipelines
from breedclf.backends.emulator.protocol import Answer, Call, json_answer, not_emulated
from breedclf.backends.emulator.s3.objects import Objects
from breedclf.backends.emulator.s3.storage import Storage
from breedclf.backends.emulator.serving.endpoints import ENDPOINT_GROUP, INSTANCE, Endpoints
from breedclf.backends.emulator.serving.model_packages import ModelPackages
from breedclf.backends.emulator.serving.models import Models
from breedclf.backends.emulator.serving.schedules import Schedules
from breedclf.backends.emulator.store import ENDPOINT, TRAINING, TRANSFORM, Store
from breedclf.backends.emulator.tags import Tags
from breedclf.backends.emulator.validation import check_request
from breedclf.backends.local.backend import LocalBackend

Operation = Callable[[Mapping[str, Any], str], dict[str, Any]]
_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")


@dataclass(frozen=True)
class Options:
    """The parts of an emulator: the local backend, whose interpreter runs images, the S3 and the keys."""

    local: LocalBackend
    objects: Objects
    credentials: Credentials
    region: str = "us-east-1"


class ControlPlane:
    """Answers calls; jobs call the emulator at `endpoint_url`."""

    def __init__(self, options: Options, endpoint_url: str) -> None:
        self.local: LocalBackend = options.local
        self.faults: Faults = Faults()
        self.store: Store = Store(private_folder(Path(options.local.home) / "emulator"), time.time)
        self.keys: KeyRing = KeyRing(options.credentials, self.store.root / "sessions.json")
        access = Access(self.keys, endpoint_url)
        storage = Storage(options.objects.client(options.region))
        python = options.local.settings.python
        self.runs: TrainingRuns = TrainingRuns(self.store, storage, options.local, access, self.faults)
        training = TrainingJobs(self.runs, lambda: self.faults.lags)
        self.searches: TuningRuns = TuningRuns(self.store, training, self.runs)
        self.endpoints: Endpoints = Endpoints(self.store, storage, self.faults, python, access)
        self.transforms: TransformJobs = TransformJobs(self.store, storage, self.faults, python, access)
        self.schedules: Schedules = Schedules(self.store, self.endpoints)
        tuning = TuningJobs(self.store, training, self.searches)
        packages = ModelPackages(self.store, storage)
        self.pipelines: Executions = Executions(self.store, self._called)
        pipelines = Pipelines(self.store, self.pipelines)
        models, tags, logs = (
            Models(self.store, storage, packages),
            Tags(self.store, training.describe, lambda: self.faults.lags),
            Logs(self._streams, lambda: self.faults.lags),
        )
        sagemaker: dict[str, Operation] = {
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": training.describe,
            "ListTrainingJobs": training.list,
            "StopTrainingJob": training.stop,
            "DeleteTrainingJob": training.delete,
            "CreateHyperParameterTuningJob": tuning.create,
            "DescribeHyperParameterTuningJob": tuning.describe,
            "ListHyperParameterTuningJobs": tuning.list,
            "ListTrainingJobsForHyperParameterTuningJob": tuning.list_children,
            "StopHyperParameterTuningJob": tuning.stop,
            "DeleteHyperParameterTuningJob": tuning.delete,
            "CreateModel": models.create_model,
            "DescribeModel": models.describe_model,
            "ListModels": models.list_models,
            "DeleteModel": models.delete_model,
            "CreateModelPackageGroup": packages.create_group,
            "DescribeModelPackageGroup": packages.describe_group,
            "ListModelPackageGroups": packages.list_groups,
            "DeleteModelPackageGroup": packages.delete_group,
            "CreateModelPackage": packages.create,
            "DescribeModelPackage": packages.describe,
            "ListModelPackages": packages.list,
            "UpdateModelPackage": packages.update,
            "DeleteModelPackage": packages.delete,
            "CreateEndpointConfig": models.create_config,
            "DescribeEndpointConfig": models.describe_config,
            "ListEndpointConfigs": models.list_configs,
            "DeleteEndpointConfig": models.delete_config,
            "CreateEndpoint": self.endpoints.create,
            "DescribeEndpoint": self.endpoints.describe,
            "ListEndpoints": self.endpoints.list,
            "UpdateEndpoint": self.endpoints.update,
            "DeleteEndpoint": self.endpoints.delete,
            "CreateTransformJob": self.transforms.create,
            "DescribeTransformJob": self.transforms.describe,
            "ListTransformJobs": self.transforms.list,
            "StopTransformJob": self.transforms.stop,
            "CreatePipeline": pipelines.create,
            "DescribePipeline": pipelines.describe,
            "ListPipelines": pipelines.list_pipelines,
            "UpdatePipeline": pipelines.update,
            "DeletePipeline": pipelines.delete,
            "StartPipelineExecution": pipelines.start,
            "DescribePipelineExecution": pipelines.describe_execution,
            "ListPipelineExecutions": pipelines.list_executions,
            "ListPipelineExecutionSteps": pipelines.list_steps,
            "StopPipelineExecution": pipelines.stop,
            "AddTags": tags.add,
            "ListTags": tags.list,
            "DeleteTags": tags.delete,
            "Search": tags.search,
        }
        self.operations: dict[str, dict[str, Operation]] = {
            "sagemaker": sagemaker,
            "logs": {
                "DescribeLogGroups": logs.describe_log_groups,
                "DescribeLogStreams": logs.describe_log_streams,
                "GetLogEvents": logs.get_log_events,
                "FilterLogEvents": logs.filter_log_events,
            },
        }

    def start(self) -> None:
        """Resume the jobs and endpoints of an earlier emulator."""
        for part in (self.runs, self.searches, self.endpoints, self.transforms, self.schedules, self.pipelines):
            part.resume()

    def close(self, *, end_jobs: bool = False) -> None:
        """Stop endpoints; jobs are stopped, too, or continue, so that the next emulator resumes them."""
        if end_jobs:
            self.searches.end_all()
            self.runs.end_all()
            self.searches.await_end()
        for part in (self.schedules, self.pipelines, self.searches, self.runs, self.transforms, self.endpoints):
            part.close()

    def answer(self, call: Call, body: bytes, parameters: Mapping[str, Any]) -> Answer:
        """The answer to a call of SageMaker, its logs, STS or IAM.

        Raises:
            ServiceError: the call is refused.
        """
        if call.service in ("sts", "iam"):
            return answer_identity(call, body, self.keys)
        operation = self.operations.get(call.service, {}).get(call.operation)
        if operation is None:
            raise not_emulated(call.service, call.operation)
        check_request(call.service, call.operation, parameters, call.region)
        return json_answer(operation(parameters, call.region))

    def _called(self, operation: str, parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
        """The response to a step of a pipeline, whose request is checked as a client's is."""
        check_request("sagemaker", operation, parameters, region)
        return self.operations["sagemaker"][operation](parameters, region)

    def invoke(self, call: Call, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer of a model.

        Raises:
            ServiceError: the call is refused.
        """
        match = _INVOCATIONS.fullmatch(path)
        if match is None:
            raise not_emulated("sagemaker-runtime", call.operation)
        return self.endpoints.invoke(match[1], body, headers, call.region)

    def _streams(self, group: str, region: str) -> list[Stream]:
        if group == TRAINING_GROUP:
            found = [
                Stream(
                    group,
                    f"{record['name']}/algo-1-{int(record['created'])}",
                    record["created"],
                    job_folder(self.local.home, record["name"]).log_file,
                    self.runs.folder(record["name"]) / "log-times.jsonl",
                    ended=bool(record.get("ended")),
                )
                for record in self.store.all(TRAINING, region)
            ]
        elif group == TRANSFORM_GROUP:
            found = [
                Stream(
                    group, f"{record['name']}/{name}", record["created"], self.transforms.folder(record["name"]) / file
                )
                for record in self.store.all(TRANSFORM, region)
                for name, file in ((INSTANCE, "log.txt"), (f"{INSTANCE}/data-log", "data-log.txt"))
            ]
        else:
            found = [
                Stream(
                    group,
                    f"{record['variant']['VariantName']}/{INSTANCE}",
                    record["created"],
                    self.endpoints.log_file(record["name"]),
                )
                for record in self.store.all(ENDPOINT, region)
                if group == ENDPOINT_GROUP + record["name"]
            ]
        return [stream for stream in found if stream.file.is_file()]
