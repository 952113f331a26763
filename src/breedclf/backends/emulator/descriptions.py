"""Requests as AWS's Describe operations return them, with defaults and empty strings; pure.

The added values are the defaults in the SageMaker API Reference, and those in the responses that AWS's guides print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.jobs import DEFAULT_MAX_RUNTIME_SECONDS

# Dictionaries and lists complete existing ones and are never added; other values are added where they are missing.
_CHANNEL = {
    "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated"}},
    "CompressionType": "None",
    "RecordWrapperType": "None",
}
_TRAINING: dict[str, Any] = {
    "InputDataConfig": [_CHANNEL],
    "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"},
    "StoppingCondition": {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_SECONDS},
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}
_PROFILED = {"ProfilerConfig": {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False}}
_RANGE = {"ScalingType": "Auto"}
_TUNING = {
    "ParameterRanges": {"ContinuousParameterRanges": [_RANGE], "IntegerParameterRanges": [_RANGE]},
    "TrainingJobEarlyStoppingType": "Off",
}
_RANGES = ("CategoricalParameterRanges", "ContinuousParameterRanges", "IntegerParameterRanges")
_CONTAINER = {"Mode": "SingleModel"}
_MODEL = {"PrimaryContainer": _CONTAINER, "Containers": [_CONTAINER], "EnableNetworkIsolation": False}
_CONFIG = {"ProductionVariants": [{"InitialVariantWeight": 1.0}], "EnableNetworkIsolation": False}
_TRANSFORM = {
    "TransformInput": {"CompressionType": "None", "SplitType": "None"},
    "TransformOutput": {"AssembleWith": "None", "KmsKeyId": ""},
}
_NO_JOIN = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}


def described_training(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateTrainingJob request."""
    return completed(_without_tags(request), _TRAINING | _PROFILED)


def described_definition(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The TrainingJobDefinition of a tuning job."""
    return completed(definition, _TRAINING)


def described_tuning(config: Mapping[str, Any]) -> dict[str, Any]:
    """The HyperParameterTuningJobConfig of a tuning job; missing kinds of ranges are empty lists."""
    described = completed(config, _TUNING)
    return described | {"ParameterRanges": {name: [] for name in _RANGES} | dict(described.get("ParameterRanges", {}))}


def described_model(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateModel request."""
    return completed(_without_tags(request), _MODEL)


def described_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateEndpointConfig request."""
    return completed(_without_tags(request), _CONFIG)


def described_transform(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateTransformJob request."""
    return {"DataProcessing": _NO_JOIN, **completed(_without_tags(request), _TRANSFORM)}


def completed(value: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary with its defaults.

    Example:
        >>> completed({"Output": {"Path": "s3://b"}}, {"Output": {"KmsKeyId": ""}, "Input": {"Type": "None"}})
        {'Output': {'KmsKeyId': '', 'Path': 's3://b'}}
    """
    plain = {name: each for name, each in defaults.items() if not isinstance(each, (dict, list))}
    return plain | {name: _completed(each, defaults.get(name)) for name, each in value.items()}


def _completed(value: Any, defaults: Any) -> Any:
    if isinstance(defaults, dict):
        return completed(value, defaults)
    if isinstance(defaults, list):
        return [_completed(each, defaults[0]) for each in value]
    return value


def _without_tags(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != "Tags"}
