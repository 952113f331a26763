"""The kinds of resources that breedclf creates, and the calls that list, describe, stop and delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REGISTRY = "model-package-group"


@dataclass(frozen=True)
class Kind:
    """A kind of resource, and the operations that list, delete and stop it.

    Jobs have no `delete`, since `breedclf jobs clean` deletes them. Resources are deleted in the order of `KINDS`:
    endpoints before their configurations and models.
    """

    word: str
    listing: str
    summaries: str
    name: str
    status: str | None = None
    delete: str | None = None
    stop: str | None = None


KINDS = (
    Kind("endpoint", "list_endpoints", "Endpoints", "EndpointName", "EndpointStatus", "delete_endpoint"),
    Kind(
        "endpoint-config",
        "list_endpoint_configs",
        "EndpointConfigs",
        "EndpointConfigName",
        None,
        "delete_endpoint_config",
    ),
    Kind("model", "list_models", "Models", "ModelName", None, "delete_model"),
    Kind(
        REGISTRY,
        "list_model_package_groups",
        "ModelPackageGroupSummaryList",
        "ModelPackageGroupName",
        "ModelPackageGroupStatus",
        "delete_model_package_group",
    ),
    Kind(
        "tuning-job",
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
        stop="stop_hyper_parameter_tuning_job",
    ),
    Kind(
        "transform-job",
        "list_transform_jobs",
        "TransformJobSummaries",
        "TransformJobName",
        "TransformJobStatus",
        stop="stop_transform_job",
    ),
)
TRAINING = Kind("training-job", "search", "Results", "TrainingJobName", "TrainingJobStatus", stop="stop_training_job")


def _delete_group(client: Any, name: str) -> None:
    """Delete a model package group with its packages."""
    pages = list(client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name))
    for each in [each for page in pages for each in page["ModelPackageSummaryList"]]:
        client.delete_model_package(ModelPackageName=each["ModelPackageArn"])
    client.delete_model_package_group(ModelPackageGroupName=name)


# Each call is written out, so that a test can compare the calls with the policies.
LISTINGS: dict[str, Callable[[Any], Iterable[Mapping[str, Any]]]] = {
    "list_endpoints": lambda client: client.get_paginator("list_endpoints").paginate(),
    "list_endpoint_configs": lambda client: client.get_paginator("list_endpoint_configs").paginate(),
    "list_models": lambda client: client.get_paginator("list_models").paginate(),
    "list_model_package_groups": lambda client: client.get_paginator("list_model_package_groups").paginate(),
    "list_transform_jobs": lambda client: client.get_paginator("list_transform_jobs").paginate(),
    "list_hyper_parameter_tuning_jobs": lambda client: client.get_paginator(
        "list_hyper_parameter_tuning_jobs"
    ).paginate(),
}
OPERATIONS: dict[str, Callable[[Any, str], Any]] = {
    "delete_endpoint": lambda client, name: client.delete_endpoint(EndpointName=name),
    "delete_endpoint_config": lambda client, name: client.delete_endpoint_config(EndpointConfigName=name),
    "delete_model": lambda client, name: client.delete_model(ModelName=name),
    "delete_model_package_group": lambda client, name: _delete_group(client, name),
    "stop_training_job": lambda client, name: client.stop_training_job(TrainingJobName=name),
    "stop_transform_job": lambda client, name: client.stop_transform_job(TransformJobName=name),
    "stop_hyper_parameter_tuning_job": lambda client, name: client.stop_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    ),
}
DESCRIPTIONS: dict[str, Callable[[Any, str], Mapping[str, Any]]] = {
    "endpoint": lambda client, name: client.describe_endpoint(EndpointName=name),
    "endpoint-config": lambda client, name: client.describe_endpoint_config(EndpointConfigName=name),
    "model": lambda client, name: client.describe_model(ModelName=name),
    REGISTRY: lambda client, name: client.describe_model_package_group(ModelPackageGroupName=name),
    "training-job": lambda client, name: client.describe_training_job(TrainingJobName=name),
    "tuning-job": lambda client, name: client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
    "transform-job": lambda client, name: client.describe_transform_job(TransformJobName=name),
}


def kind_of(word: str) -> Kind:
    """The kind with this name."""
    return next(kind for kind in (*KINDS, TRAINING) if kind.word == word)


def arn_key(kind: Kind) -> str:
    """The field of a summary that contains the ARN."""
    return kind.name.removesuffix("Name") + "Arn"
