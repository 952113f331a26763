"""The documented rules that AWS's own model of a service doesn't hold; each with where it is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Request = Mapping[str, Any]

_API = "SageMaker API Reference"
_TAG_LIMITS = "AWS General Reference, Tagging AWS resources: tag naming limits"
_BUCKET_NAMES = "Amazon S3 User Guide, General purpose bucket naming rules"

_BUCKET = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3)$)[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_ECR = re.compile(r"\d{12}\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9\-]+)\.\S+/\S+")
_PUBLIC_ECR = re.compile(r"public\.ecr\.aws/\S+")
_USERS_OWN = ("Environment", "HyperParameters", "StaticHyperParameters")
_DEFAULT_RUNTIME_SECONDS = 86_400


@dataclass(frozen=True)
class Rule:
    """A rule of some operations; `broken` gives a sentence for each place that breaks it, `source` says who says so."""

    operations: tuple[str, ...]
    source: str
    broken: Callable[[Request, str], Iterator[str]]


def rule_faults(service: str, operation: str, request: Request, region: str) -> list[str]:
    """What a request that keeps the service's model still does wrong.

    Args:
        service: as boto3 names it.
        operation: such as CreateTrainingJob.
        request: its parameters.
        region: where it is sent; empty where that isn't known.
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
            yield f"Tag key {tag['Key']!r} begins with aws:, which is AWS's own."
    counts = Counter(tag["Key"] for tag in request.get("Tags", ()))
    for key in (key for key, count in counts.items() if count > 1):
        yield f"Tag key {key!r} is given more than once."


def _buckets(request: Request, _region: str) -> Iterator[str]:
    for place, uri in _uris(request):
        bucket = uri.partition("://")[2].partition("/")[0]
        if not _BUCKET.fullmatch(bucket) or ".." in bucket or _ADDRESS.fullmatch(bucket):
            yield (
                f"{place} {uri!r}: {bucket!r} is no name of a bucket, which has 3 to 63 lower-case letters, digits, "
                "dots and hyphens."
            )


def _uris(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every address in S3 of a request, with the name of its field."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _USERS_OWN:
                yield from _uris(each, key)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _uris(each, place)
    elif isinstance(value, str) and value.startswith("s3://"):
        yield place, value


def _training_image(request: Request, region: str) -> Iterator[str]:
    algorithm = request.get("AlgorithmSpecification", {})
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        yield "Provide exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification."
    if (image := algorithm.get("TrainingImage")) and "TrainingImageConfig" not in algorithm:
        yield from _image(image, region)


def _model_image(request: Request, region: str) -> Iterator[str]:
    for container in [request.get("PrimaryContainer", {}), *request.get("Containers", ())]:
        if (image := container.get("Image")) and "ImageConfig" not in container:
            yield from _image(image, region)


def _image(image: str, region: str) -> Iterator[str]:
    found = _ECR.fullmatch(image)
    if found is None and not _PUBLIC_ECR.fullmatch(image):
        yield f"Image {image!r} is in no registry that SageMaker pulls from: push it to Amazon ECR."
    elif found is not None and region and found["region"] != region:
        yield f"Image {image!r} is in {found['region']}; SageMaker pulls images from its own region only, {region}."


def _resources(request: Request, _region: str) -> Iterator[str]:
    resources = request.get("ResourceConfig")
    if resources is None or "InstanceGroups" in resources or "HyperParameterTuningResourceConfig" in request:
        return
    if not resources.get("InstanceType") or not resources.get("InstanceCount") or not resources.get("VolumeSizeInGB"):
        yield "ResourceConfig needs an InstanceType, an InstanceCount and a VolumeSizeInGB."


def _tuning_resources(definition: Request) -> Iterator[str]:
    """SageMaker API Reference, HyperParameterTuningResourceConfig: InstanceConfigs, or one machine outside of it."""
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


_MADE = (
    "CreateTrainingJob",
    "CreateHyperParameterTuningJob",
    "CreateTransformJob",
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "AddTags",
)
RULES = (
    Rule(_MADE, _TAG_LIMITS, _tags),
    Rule(("CreateTrainingJob", "CreateTransformJob", "CreateModel"), _BUCKET_NAMES, _buckets),
    Rule(("CreateTrainingJob",), f"{_API}, AlgorithmSpecification: TrainingImage, AlgorithmName", _training_image),
    Rule(("CreateModel",), f"{_API}, ContainerDefinition: Image", _model_image),
    Rule(("CreateTrainingJob",), f"{_API}, ResourceConfig", _resources),
    Rule(("CreateTrainingJob",), f"{_API}, Channel: ChannelName", _channels),
    Rule(("CreateTrainingJob",), f"{_API}, MetricDefinition", _metrics),
    Rule(("CreateTrainingJob",), f"{_API}, StoppingCondition: MaxWaitTimeInSeconds", _spot),
)
