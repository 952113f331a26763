"""What SageMaker is sent to serve a model: pure functions from settings to requests, which refuse what AWS refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from breedclf.backends.sagemaker.instance_types import gpus_of, has_own_disk, is_cpu_image
from breedclf.backends.sagemaker.plan import UPDATE_SECONDS
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ConfigError
from breedclf.jobs import MAX_NAME_CHARS
from breedclf.jobs.endpoints import EndpointSpec, EngineChoice

VARIANT = "AllTraffic"
MAX_TAGS = 42  # of 50, beside breedclf's own
MACHINE_BODY_BYTES, SERVERLESS_BODY_BYTES = 6 << 20, 4 << 20

# Ray's CUDA image finds no driver that is new enough on the machines that an endpoint gets by default.
_RAY_MACHINE_IMAGE = "al2-ami-sagemaker-inference-gpu-3-1"
_BATCH_MACHINE_IMAGE = "al2-ami-sagemaker-batch-gpu-535"
_RAY_START_SECONDS = 900  # it installs requirements, then starts a cluster
_TRANSFORM_REQUESTS, _TRANSFORM_MEGABYTES = 8, 6  # a product over 100 is refused
_TRANSFORM_RETRIES, _TRANSFORM_SECONDS = 3, 60

_ECR = re.compile(r"(\d{12}\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9\-]+)\.|public\.ecr\.aws/)\S+")
_CUDA_IMAGE = re.compile(r"[:\-/](cuda|gpu|cu1\d\d)")
_ARM = re.compile(r"ml\.([cmrtx]\d+g|g5g)")
_NEURON = re.compile(r"ml\.(inf|trn)\d")
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+\-@]+")
_MAX_TAG_CHARS = 256


class ImageKind(Enum):
    """Who wrote a serving image, which decides what it must be told; the value says it in words."""

    RAY = "the Ray Serve image"
    TOOLKIT = "the PyTorch inference image"
    OWN = "an image of one's own"

    @classmethod
    def of(cls, image: str) -> ImageKind:
        """Told by the name.

        Example:
            >>> ImageKind.of("763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4").name
            'RAY'
        """
        if re.search(r"/ray:serve-ml", image):
            return cls.RAY
        return cls.TOOLKIT if "/pytorch-inference:" in image else cls.OWN

    @property
    def installs_at_start(self) -> bool:
        """Whether it fetches packages when it starts."""
        return self is not ImageKind.OWN


@dataclass(frozen=True)
class Generation:
    """One model of an endpoint: the requests that make it, and the name that model and configuration share."""

    name: str
    model: dict[str, Any]
    config: dict[str, Any]


def check_servable(settings: SageMakerSettings, image: str, *, region: str) -> None:
    """Refuse up front what SageMaker would refuse minutes later, or never carry out.

    Raises:
        ConfigError: settings, machine and image don't go together; the message says which and what to do.
    """
    _check_address(image, region)
    if settings.serverless_memory_mb:
        _check_serverless(settings, image)
    else:
        check_machine(settings, image)
    if settings.network_isolation and ImageKind.of(image).installs_at_start:
        raise ConfigError(
            f"network_isolation=True: {ImageKind.of(image).value} installs packages when it starts, which an isolated "
            "container can't; build an image that has them (`breedclf deploy MODEL --image-context DIR`) and give it "
            "as serving_image"
        )
    if len(settings.tags) > MAX_TAGS:
        raise ConfigError(
            f"{len(settings.tags)} tags: SageMaker takes 50, and breedclf sets some of its own, which leaves {MAX_TAGS}"
        )


def check_machine(settings: SageMakerSettings, image: str) -> None:
    """Refuse a machine that the image, or the key for its disk, doesn't fit.

    Raises:
        ConfigError: they don't go together; the message says why.
    """
    kind, machine = ImageKind.of(image), settings.endpoint_instance_type
    if gpus_of(machine) and is_cpu_image(image):
        raise ConfigError(
            f"endpoint_instance_type={machine!r} has a GPU, which {image} can't use; choose a machine without, such as "
            "ml.m5.xlarge, or an image with CUDA"
        )
    if _NEURON.match(machine):
        raise ConfigError(
            f"endpoint_instance_type={machine!r} computes on Neuron, which breedclf has no model for; choose another"
        )
    if _ARM.match(machine) and kind is not ImageKind.OWN:
        raise ConfigError(
            f"endpoint_instance_type={machine!r} has an ARM processor, and {kind.value} is built for x86; choose "
            "another machine, such as ml.m5.xlarge, or build an image for ARM and give it as serving_image"
        )
    if settings.volume_kms_key and has_own_disk(machine):
        raise ConfigError(
            f"volume_kms_key with endpoint_instance_type={machine!r}: its disk is in the machine and always encrypted "
            "with a key of AWS's own; leave the key out, or choose another machine"
        )


def check_spec(spec: EndpointSpec) -> None:
    """Refuse what no endpoint of SageMaker can be asked for.

    Raises:
        ConfigError: it has an idle time-out, a port, or an engine of its own.
    """
    if spec.engine != EngineChoice():
        raise ConfigError(
            f"engine={spec.engine.name!r}, precision={spec.engine.precision!r}: on SageMaker the serving image decides "
            "what computes; leave both out"
        )
    if spec.idle_seconds is not None:
        raise ConfigError(
            f"idle_seconds={spec.idle_seconds:g}: SageMaker keeps idle endpoints; use ttl_seconds= and "
            "`breedclf endpoints reap`, or serverless_memory_mb, which costs nothing while nobody asks"
        )
    if spec.port:
        raise ConfigError(f"port={spec.port}: an endpoint on SageMaker has an address of AWS's; leave the port out")


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
    """The model and the configuration that make up one generation of an endpoint; equal ones have equal names."""
    model = model_request(settings=settings, image=image, model_uri=model_uri, role=role)
    config = _config_request(settings, ImageKind.of(image))
    digest = hashlib.sha256(json.dumps([model, config], sort_keys=True).encode()).hexdigest()
    name = f"{_stem(endpoint)}-g{number}-{digest[:8]}"
    config["ProductionVariants"][0]["ModelName"] = name
    marks = [dict(tag) for tag in tags]
    return Generation(
        name,
        {"ModelName": name, **model, "Tags": marks},
        {"EndpointConfigName": name, **config, "Tags": marks},
    )


def model_request(*, settings: SageMakerSettings, image: str, model_uri: str, role: str) -> dict[str, Any]:
    """CreateModel, but for the name and the tags."""
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
    """CreateEndpoint."""
    return {"EndpointName": endpoint, "EndpointConfigName": config, "Tags": [dict(tag) for tag in tags]}


def update_request(endpoint: str, config: str) -> dict[str, Any]:
    """UpdateEndpoint: new machines beside the old ones, all traffic at once when they are healthy, else back."""
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
    """CreateTransformJob over the pictures below a prefix, one a request."""
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
    """Which generation of the endpoint a model or configuration of this name is; None if it is none.

    Example:
        >>> generation_of("dogs", "dogs-g12-0123abcd")
        12
    """
    found = re.fullmatch(rf"{re.escape(_stem(endpoint))}-g(\d+)-[0-9a-f]{{8}}", name)
    return int(found[1]) if found else None


def name_begin(endpoint: str) -> str:
    """What the names of all generations of an endpoint begin with."""
    return f"{_stem(endpoint)}-g"


def tag_text(text: str) -> str:
    """Text as a tag can hold it: no quotes, commas or brackets, and not too long.

    Example:
        >>> tag_text("it's 0.1, not 0.2 (why?)")
        'it s 0.1 not 0.2 why'
    """
    return " ".join(_NOT_IN_TAGS.sub(" ", text).split())[:_MAX_TAG_CHARS].rstrip()


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
        return {"BREEDCLF_NO_TOKEN": "1"}  # SageMaker checks who asks
    if kind is ImageKind.TOOLKIT:
        return {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return {}


def _check_address(image: str, region: str) -> None:
    found = _ECR.fullmatch(image)
    if found is None:
        raise ConfigError(
            f"serving_image={image!r}: SageMaker pulls images from ECR, as "
            f"ACCOUNT.dkr.ecr.{region}.amazonaws.com/NAME:TAG; push it there and give that address"
        )
    if found["region"] not in (None, region):
        raise ConfigError(
            f"serving_image={image!r} is in {found['region']}, and the endpoint in {region}; SageMaker pulls no image "
            "across regions: push it to a repository there"
        )


def _check_serverless(settings: SageMakerSettings, image: str) -> None:
    memory = f"serverless_memory_mb={settings.serverless_memory_mb}"
    machine, count = settings.endpoint_instance_type, settings.endpoint_instance_count
    if ImageKind.of(image) is ImageKind.RAY:
        raise ConfigError(
            f"{memory}: the Ray Serve image is too large for a serverless endpoint; build one with "
            "`breedclf deploy MODEL --image-context DIR` and give it as serving_image"
        )
    if gpus_of(machine) or _CUDA_IMAGE.search(image):
        what = f"serving_image={image!r}" if _CUDA_IMAGE.search(image) else f"endpoint_instance_type={machine!r}"
        raise ConfigError(f"{memory} with {what}: a serverless endpoint has no GPU; leave one of the two out")
    if count > 1:
        raise ConfigError(
            f"{memory} with endpoint_instance_count={count}: a serverless endpoint has no machines to count; "
            "serverless_max_concurrency says how many requests it takes at a time"
        )
    for name, given in (("network_isolation", settings.network_isolation), ("subnets", bool(settings.subnets))):
        if given:
            raise ConfigError(f"{memory} with {name}: a serverless endpoint can't have that; choose a machine instead")


def _stem(endpoint: str) -> str:
    """An endpoint's name, short enough to carry a generation and a digest."""
    room = MAX_NAME_CHARS - len("-g99999-01234567")
    if len(endpoint) <= room:
        return endpoint
    return f"{endpoint[: room - 9].rstrip('-')}-{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}"
