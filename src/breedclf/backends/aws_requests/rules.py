"""Documented rules of AWS that its service models lack, each with its source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.files.s3_uri import SCHEME, is_bucket_name

Request = Mapping[str, Any]

_API = "SageMaker API Reference"
_TAG_LIMITS = "AWS General Reference, Tagging AWS resources: tag naming limits"
_BUCKET_NAMES = "Amazon S3 User Guide, General purpose bucket naming rules"

_RESERVED = re.compile(r"(xn--|sthree-|amzn-s3-demo-).*|.*(-s3alias|--ol-s3)")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_ECR = re.compile(r"\d{12}\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9\-]+)\.\S+/\S+")
_PUBLIC_ECR = re.compile(r"public\.ecr\.aws/\S+")
_USER_VALUES = ("Environment", "HyperParameters", "StaticHyperParameters")
_DEFAULT_RUNTIME_SECONDS = 86_400


@dataclass(frozen=True)
class Rule:
    """A rule of some operations; `broken` yields a message per violation, `source` is its documentation."""

    operations: tuple[str, ...]
    source: str
    broken: Callable[[Request, str], Iterator[str]]


def rule_faults(service: str, operation: str, request: Request, region: str) -> list[str]:
    """The rules that a request violates, beyond the service's model.

    Args:
        service: boto3's name of the service.
        operation: such as CreateTrainingJob.
        request: its parameters.
        region: the target region; empty if unknown.
    """
    if service != "sagemaker":
        return []
    faults = [fault for rule in RULES if operation in rule.operations for fault in rule.broken(request, region)]
    if operation == "CreateHyperParameterTuningJob" and (definition := request.get("TrainingJobDefinition")):
        faults += _tuning_resources(definition)
        faults += rule_faults(service, "CreateTrainingJob", definition, region)
    return faults


def _tags(request: Request, _region: str) -> Iterator[str]:
    for tag in request.get("Tags", ()):
        if tag["Key"].lower().startswith("aws:"):
            yield f"Tag key {tag['Key']!r} starts with aws:, which is reserved for AWS."
    counts = Counter(tag["Key"] for tag in request.get("Tags", ()))
    for key in (key for key, count in counts.items() if count > 1):
        yield f"Tag key {key!r} is used more than once."


def _buckets(request: Request, _region: str) -> Iterator[str]:
    for field, uri in _uris(request):
        bucket = uri.removeprefix(SCHEME).partition("/")[0]
        if not is_bucket_name(bucket) or _RESERVED.fullmatch(bucket) or ".." in bucket or _IP_ADDRESS.fullmatch(bucket):
            yield (
                f"{field} {uri!r}: {bucket!r} is not a valid bucket name: use 3 to 63 lowercase letters, digits, "
                "dots and hyphens."
            )


def _uris(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Every S3 URI in a request, with the name of its field."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _USER_VALUES:
                yield from _uris(each, key)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _uris(each, field)
    elif isinstance(value, str) and value.startswith(SCHEME):
        yield field, value


def _training_image(request: Request, region: str) -> Iterator[str]:
    algorithm = request.get("AlgorithmSpecification", {})
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        yield "Provide exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification."
    if (image := algorithm.get("TrainingImage")) and "TrainingImageConfig" not in algorithm:
        yield from _image(image, region)


def _model_image(request: Request, region: str) -> Iterator[str]:
    packaged = request.get("InferenceSpecification", {}).get("Containers", ())
    for container in [request.get("PrimaryContainer", {}), *request.get("Containers", ()), *packaged]:
        if (image := container.get("Image")) and "ImageConfig" not in container:
            yield from _image(image, region)


def _image(image: str, region: str) -> Iterator[str]:
    found = _ECR.fullmatch(image)
    if found is None and not _PUBLIC_ECR.fullmatch(image):
        yield f"Image {image!r} is not in a registry that SageMaker supports: push it to Amazon ECR."
    elif found is not None and region and found["region"] != region:
        yield f"Image {image!r} is in {found['region']}; SageMaker pulls images only from its own region, {region}."


def _resources(request: Request, _region: str) -> Iterator[str]:
    resources = request.get("ResourceConfig")
    if resources is None or "InstanceGroups" in resources or "HyperParameterTuningResourceConfig" in request:
        return
    if not resources.get("InstanceType") or not resources.get("InstanceCount") or not resources.get("VolumeSizeInGB"):
        yield "ResourceConfig needs an InstanceType, an InstanceCount and a VolumeSizeInGB."


def _tuning_resources(definition: Request) -> Iterator[str]:
    """SageMaker API Reference, HyperParameterTuningResourceConfig: InstanceConfigs, or a single instance type."""
    flexible = definition.get("HyperParameterTuningResourceConfig")
    if (flexible is None) == ("ResourceConfig" not in definition):
        yield "TrainingJobDefinition needs either a ResourceConfig or a HyperParameterTuningResourceConfig."
    if flexible is None:
        return
    given = [name for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if flexible.get(name)]
    if flexible.get("InstanceConfigs") and given:
        yield f"HyperParameterTuningResourceConfig has InstanceConfigs, so {', '.join(given)} must be left out."
    if not flexible.get("InstanceConfigs") and not {"InstanceType", "InstanceCount"} <= set(given):
        yield "HyperParameterTuningResourceConfig needs an InstanceType and an InstanceCount, or InstanceConfigs."


def _channels(request: Request, _region: str) -> Iterator[str]:
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    if len(set(names)) < len(names):
        yield "Channel names must be unique in InputDataConfig."


def _metrics(request: Request, _region: str) -> Iterator[str]:
    definitions: Sequence[Request] = request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
    names = [each["Name"] for each in definitions]
    if len(set(names)) < len(names):
        yield "Metric names must be unique in MetricDefinitions."


def _spot(request: Request, _region: str) -> Iterator[str]:
    stopping = request.get("StoppingCondition", {})
    longest = stopping.get("MaxRuntimeInSeconds", _DEFAULT_RUNTIME_SECONDS)
    waiting = stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if waiting is None or waiting < longest:
            yield (
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds."
            )
    elif waiting is not None:
        yield "MaxWaitTimeInSeconds is supported only for managed spot training: set EnableManagedSpotTraining."


_CREATED = (
    "CreateTrainingJob",
    "CreateHyperParameterTuningJob",
    "CreateTransformJob",
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "CreateModelPackageGroup",
    "CreatePipeline",
    "AddTags",
)
RULES = (
    Rule(_CREATED, _TAG_LIMITS, _tags),
    Rule(("CreateTrainingJob", "CreateTransformJob", "CreateModel", "CreateModelPackage"), _BUCKET_NAMES, _buckets),
    Rule(("CreateTrainingJob",), f"{_API}, AlgorithmSpecification: TrainingImage, AlgorithmName", _training_image),
    Rule(("CreateModel", "CreateModelPackage"), f"{_API}, ContainerDefinition: Image", _model_image),
    Rule(("CreateTrainingJob",), f"{_API}, ResourceConfig", _resources),
    Rule(("CreateTrainingJob",), f"{_API}, Channel: ChannelName", _channels),
    Rule(("CreateTrainingJob",), f"{_API}, MetricDefinition", _metrics),
    Rule(("CreateTrainingJob",), f"{_API}, StoppingCondition: MaxWaitTimeInSeconds", _spot),
)
