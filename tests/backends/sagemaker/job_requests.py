"""Requests as boto3 takes them, and a job's source as a bundle in S3."""

from __future__ import annotations

import io
import tarfile
import time
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/breedclf"
SERVING_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu"


def archive_of(files: dict[str, str]) -> bytes:
    """A tar.gz of text files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def channel(name: str, uri: str) -> dict[str, Any]:
    """An input channel."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def script_job(client: Any, bucket: str, name: str, script: str, **more: Any) -> dict[str, Any]:
    """Upload a `train.py` and return the request of a job that runs it as script mode does."""
    client("s3").put_object(Bucket=bucket, Key=f"code/{name}/sourcedir.tar.gz", Body=archive_of({"train.py": script}))
    pairs = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
        **more.pop("HyperParameters", {}),
    }
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    request = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.13-cpu",
            "TrainingInputMode": "File",
            "MetricDefinitions": metrics,
        },
        "InputDataConfig": [channel("code", f"s3://{bucket}/code/{name}")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": pairs,
    }
    return {**request, **more}


def wait_for_job(client: Any, name: str, *, seconds: float = 90.0) -> dict[str, Any]:
    """The description of a training job once it has ended."""
    until = time.monotonic() + seconds
    while True:
        description: dict[str, Any] = client("sagemaker").describe_training_job(TrainingJobName=name)
        if description["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"):
            return description
        assert time.monotonic() < until, f"job {name} didn't end in time: {description}"
        time.sleep(0.1)


def tuning_job(client: Any, bucket: str, name: str, script: str, config: dict[str, Any]) -> dict[str, Any]:
    """The request of a tuning job over that script, which prints `loss=...`."""
    job = script_job(client, bucket, name, script)
    definition = {key: value for key, value in job.items() if key not in ("TrainingJobName", "HyperParameters")}
    definition["StaticHyperParameters"] = job["HyperParameters"]
    objective = {"Type": "Minimize", "MetricName": "loss"}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {"HyperParameterTuningJobObjective": objective, **config},
        "TrainingJobDefinition": definition,
    }


def model_request(name: str, uri: str, image: str = SERVING_IMAGE, **environment: str) -> dict[str, Any]:
    """The request of a model."""
    container = {"Image": image, "ModelDataUrl": uri, "Environment": environment}
    return {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE}


def variant(model: str, **more: Any) -> list[dict[str, Any]]:
    """The one production variant of a configuration."""
    machine = {} if "ServerlessConfig" in more else {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return [{"VariantName": "AllTraffic", "ModelName": model, **machine, **more}]
