"""An in-memory fake of SageMaker for rare cases: lost responses, clock skew, partially deleted resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.jobs.plan import ApiCall

_ARN = "arn:aws:sagemaker:us-east-1:111122223333"


OWNER = "arn:aws:iam::111122223333:user/ann"


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Identity:
    """The part of STS that identifies the caller."""

    def __init__(self, arn: str = OWNER) -> None:
        self.arn = arn

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": self.arn, "Account": "111122223333", "UserId": "AIDAEXAMPLE"}


def refusal(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Pages:
    """A paginator with one item per page."""

    def __init__(self, key: str, items: Any) -> None:
        self._key = key
        self._items = items

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        yield {self._key: []}
        for item in self._items(parameters):
            yield {self._key: [item]}


class FakeSageMaker:
    """Stores resources in memory; validates each request by botocore's model. The time is always `now`."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.calls: list[str] = []
        self.lose_the_next_answer = False
        self.tuning: dict[str, dict[str, Any]] = {}
        self.children: dict[str, list[dict[str, Any]]] = {}
        self.things: dict[str, dict[str, dict[str, Any]]] = {
            "Endpoint": {},
            "EndpointConfig": {},
            "Model": {},
            "TrainingJob": {},
            "TransformJob": {},
        }
        self.tags: dict[str, dict[str, str]] = {}

    def create_hyper_parameter_tuning_job(self, **request: Any) -> dict[str, Any]:
        self._called("CreateHyperParameterTuningJob", request)
        name = request["HyperParameterTuningJobName"]
        if name in self.tuning:
            raise refusal("ResourceInUse", f"Tuning job {name} already exists", "CreateHyperParameterTuningJob")
        definition = dict(request["TrainingJobDefinition"])
        metric = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        definition["StaticHyperParameters"] = {
            **definition["StaticHyperParameters"],
            "_tuning_objective_metric": metric,  # as the service adds it
        }
        self.tuning[name] = {
            **{key: value for key, value in request.items() if key != "Tags"},
            "TrainingJobDefinition": definition,
            "HyperParameterTuningJobArn": f"{_ARN}:hyper-parameter-tuning-job/{name}",
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": self._time(),
            "TrainingJobStatusCounters": {},
            "ObjectiveStatusCounters": {},
        }
        self.children[name] = []
        self._tag(f"{_ARN}:hyper-parameter-tuning-job/{name}", request.get("Tags", ()))
        if self.lose_the_next_answer:
            self.lose_the_next_answer = False
            return self.create_hyper_parameter_tuning_job(**request)  # what botocore does after a time-out
        return {"HyperParameterTuningJobArn": f"{_ARN}:hyper-parameter-tuning-job/{name}"}

    def describe_hyper_parameter_tuning_job(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeHyperParameterTuningJob", request)
        return self._known_tuning(request, "DescribeHyperParameterTuningJob")

    def stop_hyper_parameter_tuning_job(self, **request: Any) -> None:
        self._called("StopHyperParameterTuningJob", request)
        job = self._known_tuning(request, "StopHyperParameterTuningJob")
        if job["HyperParameterTuningJobStatus"] != "InProgress":
            message = f"The tuning job is in status {job['HyperParameterTuningJobStatus']} and can't be stopped"
            raise refusal("ValidationException", message, "StopHyperParameterTuningJob")
        job["HyperParameterTuningJobStatus"] = "Stopping"

    def child(self, tuning: str, name: str, status: str, tuned: Mapping[str, str], value: float | None = None) -> None:
        """A training job of a search, as the service starts it."""
        summary: dict[str, Any] = {
            "TrainingJobName": name,
            "TrainingJobArn": f"{_ARN}:training-job/{name}",
            "CreationTime": self._time(),
            "TrainingJobStatus": status,
            "TunedHyperParameters": dict(tuned),
        }
        if value is not None:
            metric = "FinalHyperParameterTuningJobObjectiveMetric"
            summary[metric] = {"MetricName": "best_valid_loss", "Value": value}
        if status == "Failed":
            summary["FailureReason"] = "AlgorithmError: out of memory"
        self.children[tuning].append(summary)

    def make(
        self,
        kind: str,
        name: str,
        *,
        ours: bool = True,
        owner: str | None = OWNER,
        age_days: float = 0.0,
        **fields: Any,
    ) -> None:
        """An endpoint, a configuration, a model or a job."""
        created = datetime.fromtimestamp(self.now - age_days * 86_400, UTC)
        words = {"EndpointConfig": "endpoint-config", "TrainingJob": "training-job", "TransformJob": "transform-job"}
        word = words.get(kind, kind.lower())
        arn = f"{_ARN}:{word}/{name}"
        self.things[kind][name] = {f"{kind}Name": name, f"{kind}Arn": arn, "CreationTime": created, **fields}
        if ours:
            self.tags[arn] = {"breedclf": "1.0"} | ({"breedclf-user": owner} if owner else {})

    class meta:  # noqa: N801 - as boto3 spells it
        region_name = "us-east-1"

    def describe_endpoint(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeEndpoint", request)
        return self._known("Endpoint", request["EndpointName"])

    def describe_endpoint_config(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeEndpointConfig", request)
        return self._known("EndpointConfig", request["EndpointConfigName"])

    def delete_endpoint(self, **request: Any) -> None:
        self._delete("Endpoint", request)

    def delete_endpoint_config(self, **request: Any) -> None:
        self._delete("EndpointConfig", request)

    def delete_model(self, **request: Any) -> None:
        self._delete("Model", request)

    def describe_model(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeModel", request)
        return self._known("Model", request["ModelName"])

    def describe_training_job(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeTrainingJob", request)
        return self._known("TrainingJob", request["TrainingJobName"])

    def describe_transform_job(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeTransformJob", request)
        return self._known("TransformJob", request["TransformJobName"])

    def stop_transform_job(self, **request: Any) -> None:
        self._called("StopTransformJob", request)
        job = self._known("TransformJob", request["TransformJobName"])
        if job["TransformJobStatus"] != "InProgress":
            raise refusal("ValidationException", "The job has ended", "StopTransformJob")
        job["TransformJobStatus"] = "Stopping"

    def stop_training_job(self, **request: Any) -> None:
        self._called("StopTrainingJob", request)
        self._known("TrainingJob", request["TrainingJobName"])["TrainingJobStatus"] = "Stopping"

    def get_paginator(self, operation: str) -> Pages:
        return {
            "list_training_jobs_for_hyper_parameter_tuning_job": Pages("TrainingJobSummaries", self._children),
            "list_hyper_parameter_tuning_jobs": Pages("HyperParameterTuningJobSummaries", self._tunings),
            "list_endpoints": Pages("Endpoints", lambda _asked: list(self.things["Endpoint"].values())),
            "list_endpoint_configs": Pages(
                "EndpointConfigs", lambda _asked: list(self.things["EndpointConfig"].values())
            ),
            "list_transform_jobs": Pages(
                "TransformJobSummaries", lambda _asked: list(self.things["TransformJob"].values())
            ),
            "list_models": Pages("Models", lambda _asked: list(self.things["Model"].values())),
            "list_model_package_groups": Pages("ModelPackageGroupSummaryList", lambda _asked: []),
            "list_tags": Pages("Tags", self._tags_of),
            "search": Pages("Results", self._found),
        }[operation]

    def _found(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._called("Search", asked)
        [condition] = asked["SearchExpression"]["Filters"]
        assert condition == {"Name": "Tags.breedclf", "Operator": "Exists"} and asked["Resource"] == "TrainingJob"
        return [
            {"TrainingJob": {**job, "Tags": _as_list(self.tags[job["TrainingJobArn"]])}}
            for job in self.things["TrainingJob"].values()
            if job["TrainingJobArn"] in self.tags
        ]

    def _tags_of(self, asked: Mapping[str, Any]) -> list[dict[str, str]]:
        self._called("ListTags", asked)
        return _as_list(self.tags.get(asked["ResourceArn"], {}))

    def _children(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        plain = {key: value for key, value in asked.items() if key != "PaginationConfig"}
        self._called("ListTrainingJobsForHyperParameterTuningJob", plain)
        return list(self.children[asked["HyperParameterTuningJobName"]])

    def _tunings(self, _asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        arn = f"{_ARN}:hyper-parameter-tuning-job"
        return [{**job, "HyperParameterTuningJobArn": f"{arn}/{name}"} for name, job in self.tuning.items()]

    def _known_tuning(self, request: Mapping[str, Any], operation: str) -> dict[str, Any]:
        name = request["HyperParameterTuningJobName"]
        if name not in self.tuning:
            raise refusal("ResourceNotFound", f"Amazon SageMaker can't find a tuning job {name}", operation)
        return self.tuning[name]

    def _known(self, kind: str, name: str) -> dict[str, Any]:
        if name not in self.things[kind]:
            raise refusal("ValidationException", f'Could not find {kind.lower()} "{name}".', f"Describe{kind}")
        return self.things[kind][name]

    def _delete(self, kind: str, request: Mapping[str, Any]) -> None:
        self._called(f"Delete{kind}", request)
        self._known(kind, request[f"{kind}Name"])
        del self.things[kind][request[f"{kind}Name"]]

    def _called(self, operation: str, request: Mapping[str, Any]) -> None:
        validate_call(ApiCall(operation, request))
        self.calls.append(operation)

    def _tag(self, arn: str, tags: Any) -> None:
        self.tags[arn] = {tag["Key"]: tag["Value"] for tag in tags}

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)
