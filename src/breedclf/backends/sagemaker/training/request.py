"""The request of a training job as a pure function of specification, settings and S3 URIs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.backends.common.bundle import ARCHIVE, ENTRY
from breedclf.backends.sagemaker.instance_types import gpus_of, has_local_disk, is_cpu_image
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.debugger import debugger_request
from breedclf.config.hyperparameters import decode
from breedclf.errors import ConfigError
from breedclf.features.remote.bucket import store_location
from breedclf.files.s3_uri import S3Location, is_s3
from breedclf.jobs import (
    CODE_CHANNEL,
    DATA_CHANNEL,
    MAX_HYPERPARAMETERS,
    MODEL_CHANNEL,
    WEIGHTS_CHANNEL,
    JobSpec,
    is_weights_channel,
)
from breedclf.tuning.network_weights import WEIGHTS_PAIR, received_by_job

MAX_RUNTIME_SECONDS = 28 * 86_400
# With network isolation the container can't download its code from S3, so the code is a channel.
SUBMIT_DIRECTORY = f"/opt/ml/input/data/{CODE_CHANNEL}/{ARCHIVE}"
_READ_WHOLE = (CODE_CHANNEL, MODEL_CHANNEL)
RESERVED_PREFIXES = ("sagemaker_", "_tuning_")


@dataclass(frozen=True)
class JobPlaces:
    """S3 URIs of a job's code and channels, and of the folder in which each job gets its own folder."""

    code: str
    channels: Mapping[str, str]
    jobs: str


@dataclass(frozen=True)
class JobImages:
    """Container images of a job; `debugger` is None without Debugger rules."""

    training: str
    debugger: str | None = None


def training_request(
    spec: JobSpec,
    settings: SageMakerSettings,
    *,
    role: str,
    images: JobImages,
    places: JobPlaces,
    tags: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """The parameters of CreateTrainingJob.

    The code runs in the script mode of Amazon's PyTorch images, which training jobs and tuning jobs both support. With
    several GPUs or machines the image starts one process for each.

    Raises:
        ConfigError: the job conflicts with the settings or exceeds a limit of SageMaker.
    """
    _check(spec, settings, images.training)
    request: dict[str, Any] = {
        "TrainingJobName": spec.name,
        "HyperParameters": _hyperparameters(spec, settings),
        "AlgorithmSpecification": {
            "TrainingImage": images.training,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": each.name, "Regex": each.regex} for each in spec.metric_definitions],
        },
        "RoleArn": role,
        "InputDataConfig": [
            _channel(name, uri, "File" if _is_read_whole(name) else settings.input_mode)
            for name, uri in {CODE_CHANNEL: places.code, **places.channels}.items()
        ],
        "OutputDataConfig": {"S3OutputPath": places.jobs},
        "ResourceConfig": {
            "InstanceType": settings.instance_type,
            "InstanceCount": settings.instance_count,
            "VolumeSizeInGB": settings.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": math.ceil(spec.max_runtime_seconds)},
        "EnableNetworkIsolation": settings.network_isolation,
        "Tags": [dict(tag) for tag in tags],
    }
    if not spec.metric_definitions:
        del request["AlgorithmSpecification"]["MetricDefinitions"]
    if settings.output_kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = settings.output_kms_key
    if settings.volume_kms_key:
        request["ResourceConfig"]["VolumeKmsKeyId"] = settings.volume_kms_key
    if settings.subnets:
        request["VpcConfig"] = {
            "Subnets": list(settings.subnets),
            "SecurityGroupIds": list(settings.security_groups),
        }
    if spec.environment:
        request["Environment"] = dict(spec.environment)
    if spec.spot:
        request["EnableManagedSpotTraining"] = True
        request["CheckpointConfig"] = {"S3Uri": f"{places.jobs}/{spec.name}/checkpoints"}
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = _max_wait(spec, settings)
    if images.debugger is not None:
        request.update(debugger_request(places.jobs, images.debugger))
    return request


def own_hyperparameters(pairs: Mapping[str, str]) -> dict[str, str]:
    """The job's hyperparameters without those reserved by SageMaker."""
    return {name: value for name, value in pairs.items() if not name.startswith(RESERVED_PREFIXES)}


def _hyperparameters(spec: JobSpec, settings: SageMakerSettings) -> dict[str, str]:
    pairs = {
        **spec.hyperparameters,
        "sagemaker_program": ENTRY,
        "sagemaker_submit_directory": SUBMIT_DIRECTORY,
    }
    if settings.instance_count * max(1, gpus_of(settings.instance_type)) > 1:
        pairs["sagemaker_torch_distributed_enabled"] = "true"
    if len(pairs) > MAX_HYPERPARAMETERS:
        raise ConfigError(
            f"{len(spec.hyperparameters)} hyperparameters: a job on SageMaker takes at most "
            f"{MAX_HYPERPARAMETERS - len(pairs) + len(spec.hyperparameters)}, since breedclf needs some of the "
            f"{MAX_HYPERPARAMETERS}"
        )
    return pairs


def _is_read_whole(channel: str) -> bool:
    return channel in _READ_WHOLE or is_weights_channel(channel)


def _channel(name: str, uri: str, input_mode: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"{uri.rstrip('/')}/",  # otherwise "dogs" would also match "dogs-2"
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": input_mode,
    }


def _max_wait(spec: JobSpec, settings: SageMakerSettings) -> int:
    run = math.ceil(spec.max_runtime_seconds)
    if settings.max_wait_seconds is None:
        return min(2 * run, MAX_RUNTIME_SECONDS)
    if settings.max_wait_seconds < run:
        raise ConfigError(
            f"max_wait_seconds={settings.max_wait_seconds} is less than the job's max_runtime_seconds={run}, but a "
            "spot job must wait and run within it; increase it"
        )
    return settings.max_wait_seconds


def _check(spec: JobSpec, settings: SageMakerSettings, image: str) -> None:
    if spec.max_runtime_seconds > MAX_RUNTIME_SECONDS:
        raise ConfigError(
            f"max_runtime_seconds={spec.max_runtime_seconds:g}: a job on SageMaker runs at most {MAX_RUNTIME_SECONDS} s"
        )
    if spec.gpus and spec.gpus > gpus_of(settings.instance_type):
        raise ConfigError(
            f"gpus={spec.gpus}, but {settings.instance_type} has {gpus_of(settings.instance_type)}; "
            "use an instance type that has them, such as instance_type='ml.g4dn.xlarge'"
        )
    if gpus_of(settings.instance_type) and is_cpu_image(image):
        raise ConfigError(
            f"instance_type={settings.instance_type!r} has a GPU, which {image} can't use; use one without, "
            "such as ml.m5.xlarge, or an image with CUDA"
        )
    if settings.volume_kms_key and has_local_disk(settings.instance_type):
        raise ConfigError(
            f"volume_kms_key with {settings.instance_type}: its local disk is always encrypted with a key "
            "of AWS; remove volume_kms_key, or use another instance type"
        )
    if settings.network_isolation and (downloads := downloaded_weights(spec)):
        raise ConfigError(
            f"{_shown(downloads)} downloaded by the job, which network_isolation forbids; pass a local file "
            "(weights='FILE'; a search over networks takes one for each), which is uploaded"
        )
    store = feature_store_of(spec)
    if store is not None and settings.network_isolation:
        raise ConfigError(
            f"feature_store={str(store)!r} is read by the job, which network_isolation forbids; remove one of them"
        )


def downloaded_weights(spec: JobSpec) -> dict[str, str]:
    """The published weights that a job downloads, by architecture; those of a user's own script aren't known.

    Example:
        >>> from pathlib import Path
        >>> pairs = {"architecture": "timm:vit_tiny_patch16_224", "weights": "pretrained"}
        >>> downloaded_weights(JobSpec("job", pairs, channels={"training": Path("dogs")}))
        {'timm:vit_tiny_patch16_224': 'pretrained'}
    """
    channels, pairs = spec.channels, spec.hyperparameters
    if spec.source is not None or DATA_CHANNEL not in channels or {WEIGHTS_CHANNEL, MODEL_CHANNEL} & set(channels):
        return {}
    architecture = str(decode(pairs.get("architecture", "resnet50")))
    weights = {architecture: pairs.get("weights", "IMAGENET1K_V1")}
    if WEIGHTS_PAIR in pairs:
        weights = received_by_job(pairs[WEIGHTS_PAIR], {})
    return {name: value for name, value in weights.items() if value != "none" and value not in channels}


def vpc_note(spec: JobSpec, settings: SageMakerSettings) -> str | None:
    """What a job in a VPC needs in order to download its weights; None if it downloads none."""
    if not settings.subnets or not (downloads := downloaded_weights(spec)):
        return None
    return (
        f"{_shown(downloads)} downloaded by the job: its subnets need a route to the internet (a NAT gateway), or pass "
        "a local file, which is uploaded"
    )


def _shown(weights: Mapping[str, str]) -> str:
    named = ", ".join(f"weights={value!r} of {name}" for name, value in weights.items())
    return f"{named} {'is' if len(weights) == 1 else 'are'}"


def feature_store_of(spec: JobSpec) -> S3Location | None:
    """The bucket and prefix of a job's feature store; None if it isn't in S3.

    Raises:
        ConfigError: the URI is wrong.
    """
    store = spec.hyperparameters.get("feature_store", "")
    return store_location(store) if spec.source is None and is_s3(store) else None
