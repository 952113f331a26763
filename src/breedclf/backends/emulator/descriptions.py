"""A request as AWS tells it again: with the defaults, and the empty strings, that its descriptions always hold; pure.

What is added stands in the SageMaker API Reference as a default, or in the answers that AWS's own guides print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.jobs import DEFAULT_MAX_RUNTIME_SECONDS

# A table or a list completes what is there and is never made; everything else is put where it is missing.
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


def training_told(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateTrainingJob request."""
    return completed(_told(request), _TRAINING | _PROFILED)


def definition_told(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The TrainingJobDefinition of a tuning job."""
    return completed(definition, _TRAINING)


def tuning_told(config: Mapping[str, Any]) -> dict[str, Any]:
    """The HyperParameterTuningJobConfig of a tuning job; the kinds of range that it hasn't are empty."""
    told = completed(config, _TUNING)
    return told | {"ParameterRanges": {name: [] for name in _RANGES} | dict(told.get("ParameterRanges", {}))}


def model_told(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateModel request."""
    return completed(_told(request), _MODEL)


def config_told(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateEndpointConfig request."""
    return completed(_told(request), _CONFIG)


def transform_told(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateTransformJob request."""
    return {"DataProcessing": _NO_JOIN, **completed(_told(request), _TRANSFORM)}


def completed(value: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A table with its defaults.

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


def _told(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != "Tags"}
