"""Requests that serve a model: pure functions of the settings, which reject what AWS would reject."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from breedclf.backends.sagemaker.cost.estimate import UPDATE_SECONDS
from breedclf.backends.sagemaker.instance_types import gpus_of, has_local_disk, is_cpu_image
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ConfigError
from breedclf.jobs import MAX_NAME_CHARS
from breedclf.jobs.endpoints import EndpointSpec, EngineChoice

VARIANT = "AllTraffic"
MAX_TAGS = 42  # of 50; the rest are breedclf's own
MACHINE_BODY_BYTES, SERVERLESS_BODY_BYTES = 6 << 20, 4 << 20

# The default machine image of endpoints has no driver that is recent enough for Ray's CUDA image.
_RAY_MACHINE_IMAGE = "al2-ami-sagemaker-inference-gpu-3-1"
_BATCH_MACHINE_IMAGE = "al2-ami-sagemaker-batch-gpu-535"
_RAY_START_SECONDS = 900  # it installs requirements, then starts a cluster
_TRANSFORM_REQUESTS, _TRANSFORM_MEGABYTES = 8, 6  # a product over 100 is refused
_TRANSFORM_RETRIES, _TRANSFORM_SECONDS = 3, 60

_ECR = re.compile(r"(\d{12}\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9\-]+)\.|public\.ecr\.aws/)\S+")
_CUDA_IMAGE = re.compile(r"[:\-/](cuda|gpu|cu1\d\d)")
_ARM = re.compile(r"ml\.([cmrtx]\d+g|g5g)")
_NEURON = re.compile(r"ml\.(inf|trn)\d")


class ImageKind(Enum):
    """The kind of a serving image, which decides its configuration; the value is used in messages."""

    RAY = "the Ray Serve image"
    TOOLKIT = "the PyTorch inference image"
    OWN = "a custom image"

    @classmethod
    def of(cls, image: str) -> ImageKind:
        """The kind of an image, by its name.

        Example:
            >>> ImageKind.of("763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4").name
            'RAY'
        """
        if re.search(r"/ray:serve-ml", image):
            return cls.RAY
        return cls.TOOLKIT if "/pytorch-inference:" in image else cls.OWN

    @property
    def installs_at_start(self) -> bool:
        """Whether the container installs packages at startup."""
        return self is not ImageKind.OWN


@dataclass(frozen=True)
class Generation:
    """One generation of an endpoint: the requests that create it, and the shared name of model and configuration."""

    name: str
    model: dict[str, Any]
    config: dict[str, Any]


def check_servable(settings: SageMakerSettings, image: str, *, region: str) -> None:
    """Reject settings that SageMaker would reject minutes later.

    Raises:
        ConfigError: settings, instance type and image are incompatible.
    """
    _check_image_uri(image, region)
    if settings.serverless_memory_mb:
        _check_serverless(settings, image)
    else:
        check_machine(settings, image)
    if settings.network_isolation and ImageKind.of(image).installs_at_start:
        raise ConfigError(
            f"network_isolation=True: {ImageKind.of(image).value} installs packages at startup, which an isolated "
            "container can't; build an image that contains them (`breedclf deploy MODEL --image-context DIR`) and set "
            "it as serving_image"
        )
    if len(settings.tags) > MAX_TAGS:
        raise ConfigError(
            f"{len(settings.tags)} tags: SageMaker allows 50, and breedclf needs some of them, which leaves {MAX_TAGS}"
        )


def check_machine(settings: SageMakerSettings, image: str) -> None:
    """Reject an instance type that is incompatible with the image or the disk's KMS key.

    Raises:
        ConfigError: they are incompatible.
    """
    kind, machine = ImageKind.of(image), settings.endpoint_instance_type
    if gpus_of(machine) and is_cpu_image(image):
        raise ConfigError(
            f"endpoint_instance_type={machine!r} has a GPU, which {image} can't use; use one without, such as "
            "ml.m5.xlarge, or an image with CUDA"
        )
    if _NEURON.match(machine):
        raise ConfigError(
            f"endpoint_instance_type={machine!r} uses Neuron, which breedclf doesn't support; use another"
        )
    if _ARM.match(machine) and kind is not ImageKind.OWN:
        raise ConfigError(
            f"endpoint_instance_type={machine!r} has an ARM processor, and {kind.value} is built for x86; use "
            "another one, such as ml.m5.xlarge, or build an image for ARM and set it as serving_image"
        )
    if settings.volume_kms_key and has_local_disk(machine):
        raise ConfigError(
            f"volume_kms_key with endpoint_instance_type={machine!r}: its local disk is always encrypted "
            "with a key of AWS; remove volume_kms_key, or use another instance type"
        )


def check_spec(spec: EndpointSpec) -> None:
    """Reject options that endpoints on SageMaker don't support.

    Raises:
        ConfigError: an idle timeout, a port or an engine is set.
    """
    if spec.engine != EngineChoice():
        raise ConfigError(
            f"engine={spec.engine.name!r}, precision={spec.engine.precision!r}: on SageMaker the serving image "
            "decides; remove both"
        )
    if spec.idle_seconds is not None:
        raise ConfigError(
            f"idle_seconds={spec.idle_seconds:g}: SageMaker doesn't delete idle endpoints; use ttl_seconds= and "
            "`breedclf endpoints reap`, or serverless_memory_mb, which costs nothing while idle"
        )
    if spec.port:
        raise ConfigError(f"port={spec.port}: endpoints on SageMaker have a URL of AWS; remove port")


def generation_for(
    endpoint: str,
    number: int,
    *,
    settings: SageMakerSettings,
    image: str,
    model_uri: str,
    role: str,
    tags: Sequence[Mapping[str, str]],
) -> Generation:
    """The model and configuration of one generation of an endpoint; the name contains a digest of both."""
    model = model_request(settings=settings, image=image, model_uri=model_uri, role=role)
    config = _config_request(settings, ImageKind.of(image))
    digest = hashlib.sha256(json.dumps([model, config], sort_keys=True).encode()).hexdigest()
    name = f"{_stem(endpoint)}-g{number}-{digest[:8]}"
    config["ProductionVariants"][0]["ModelName"] = name
    tag_list = [dict(tag) for tag in tags]
    return Generation(
        name,
        {"ModelName": name, **model, "Tags": tag_list},
        {"EndpointConfigName": name, **config, "Tags": tag_list},
    )


def model_request(*, settings: SageMakerSettings, image: str, model_uri: str, role: str) -> dict[str, Any]:
    """The parameters of CreateModel without name and tags."""
    container: dict[str, Any] = {"Image": image, "ModelDataUrl": model_uri}
    if environment := _environment(ImageKind.of(image)):
        container["Environment"] = environment
    request: dict[str, Any] = {"PrimaryContainer": container, "ExecutionRoleArn": role}
    if settings.subnets:
        request["VpcConfig"] = {
            "Subnets": list(settings.subnets),
            "SecurityGroupIds": list(settings.security_groups),
        }
    if settings.network_isolation:
        request["EnableNetworkIsolation"] = True
    return request


def create_request(endpoint: str, config: str, tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The parameters of CreateEndpoint."""
    return {"EndpointName": endpoint, "EndpointConfigName": config, "Tags": [dict(tag) for tag in tags]}


def update_request(endpoint: str, config: str) -> dict[str, Any]:
    """The parameters of UpdateEndpoint: a blue/green update that shifts all traffic to healthy new machines."""
    policy = {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
        "MaximumExecutionTimeoutInSeconds": UPDATE_SECONDS,
    }
    return {
        "EndpointName": endpoint,
        "EndpointConfigName": config,
        "DeploymentConfig": {"BlueGreenUpdatePolicy": policy},
    }


def transform_request(
    name: str,
    model: str,
    *,
    settings: SageMakerSettings,
    images_uri: str,
    output_uri: str,
    tags: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """The parameters of CreateTransformJob for the images below a prefix, one image per request."""
    machine = settings.endpoint_instance_type
    resources: dict[str, Any] = {"InstanceType": machine, "InstanceCount": settings.endpoint_instance_count}
    if gpus_of(machine):
        resources["TransformAmiVersion"] = _BATCH_MACHINE_IMAGE
    if settings.volume_kms_key:
        resources["VolumeKmsKeyId"] = settings.volume_kms_key
    output: dict[str, Any] = {"S3OutputPath": output_uri, "Accept": "application/json", "AssembleWith": "None"}
    if settings.output_kms_key:
        output["KmsKeyId"] = settings.output_kms_key
    return {
        "TransformJobName": name,
        "ModelName": model,
        "BatchStrategy": "SingleRecord",
        "MaxConcurrentTransforms": _TRANSFORM_REQUESTS,
        "MaxPayloadInMB": _TRANSFORM_MEGABYTES,
        "ModelClientConfig": {
            "InvocationsTimeoutInSeconds": _TRANSFORM_SECONDS,
            "InvocationsMaxRetries": _TRANSFORM_RETRIES,
        },
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": images_uri}},
            "ContentType": "application/x-image",
            "SplitType": "None",
            "CompressionType": "None",
        },
        "TransformOutput": output,
        "TransformResources": resources,
        "Tags": [dict(tag) for tag in tags],
    }


def generation_of(endpoint: str, name: str) -> int | None:
    """The generation in the name of a model or configuration; None if it doesn't belong to the endpoint.

    Example:
        >>> generation_of("dogs", "dogs-g12-0123abcd")
        12
    """
    found = re.fullmatch(rf"{re.escape(_stem(endpoint))}-g(\d+)-[0-9a-f]{{8}}", name)
    return int(found[1]) if found else None


def name_prefix(endpoint: str) -> str:
    """The common prefix of the names of an endpoint's generations."""
    return f"{_stem(endpoint)}-g"


def _config_request(settings: SageMakerSettings, kind: ImageKind) -> dict[str, Any]:
    variant: dict[str, Any] = {"VariantName": VARIANT}
    if settings.serverless_memory_mb:
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": settings.serverless_memory_mb,
            "MaxConcurrency": settings.serverless_max_concurrency,
        }
        return {"ProductionVariants": [variant]}
    machine = settings.endpoint_instance_type
    variant |= {
        "InstanceType": machine,
        "InitialInstanceCount": settings.endpoint_instance_count,
        "InitialVariantWeight": 1.0,
    }
    if kind is ImageKind.RAY:
        variant["ContainerStartupHealthCheckTimeoutInSeconds"] = _RAY_START_SECONDS
        if gpus_of(machine):
            variant["InferenceAmiVersion"] = _RAY_MACHINE_IMAGE
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if settings.volume_kms_key:
        request["KmsKeyId"] = settings.volume_kms_key
    return request


def _environment(kind: ImageKind) -> dict[str, str]:
    if kind is ImageKind.OWN:
        return {"BREEDCLF_NO_TOKEN": "1"}  # SageMaker authenticates callers
    if kind is ImageKind.TOOLKIT:
        return {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return {}


def _check_image_uri(image: str, region: str) -> None:
    found = _ECR.fullmatch(image)
    if found is None:
        raise ConfigError(
            f"serving_image={image!r}: SageMaker pulls images from ECR, like "
            f"ACCOUNT.dkr.ecr.{region}.amazonaws.com/NAME:TAG; push it there and use that URI"
        )
    if found["region"] not in (None, region):
        raise ConfigError(
            f"serving_image={image!r} is in {found['region']}, but the endpoint is in {region}; SageMaker can't pull "
            "images from other regions: push it to a repository there"
        )


def _check_serverless(settings: SageMakerSettings, image: str) -> None:
    memory = f"serverless_memory_mb={settings.serverless_memory_mb}"
    machine, count = settings.endpoint_instance_type, settings.endpoint_instance_count
    if ImageKind.of(image) is ImageKind.RAY:
        raise ConfigError(
            f"{memory}: the Ray Serve image is too large for a serverless endpoint; build one with "
            "`breedclf deploy MODEL --image-context DIR` and set it as serving_image"
        )
    if gpus_of(machine) or _CUDA_IMAGE.search(image):
        what = f"serving_image={image!r}" if _CUDA_IMAGE.search(image) else f"endpoint_instance_type={machine!r}"
        raise ConfigError(f"{memory} with {what}: serverless endpoints have no GPU; remove one of the two")
    if count > 1:
        raise ConfigError(
            f"{memory} with endpoint_instance_count={count}: serverless endpoints have no machines; "
            "set serverless_max_concurrency to the number of concurrent requests"
        )
    for name, is_set in (("network_isolation", settings.network_isolation), ("subnets", bool(settings.subnets))):
        if is_set:
            raise ConfigError(f"{memory} with {name}: serverless endpoints don't support it; use a machine")


def _stem(endpoint: str) -> str:
    """An endpoint's name, shortened so that a generation and a digest can be appended."""
    max_chars = MAX_NAME_CHARS - len("-g99999-01234567")
    if len(endpoint) <= max_chars:
        return endpoint
    return f"{endpoint[: max_chars - 9].rstrip('-')}-{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}"
