"""The request of a tuning job: readable snapshots, each valid by botocore's service model, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, Continuous, Integer, TrainingConfig
from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.tuning.request import search_request, tuning_request
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.plan import ApiCall
from breedclf.tuning.native import TELL_BEST_VARIABLE, NativeSearch
from breedclf.tuning.network_weights import sent_with_job
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.stopping import Completion

SNAPSHOTS = Path(__file__).parents[1] / "requests"
SPACE = {"learning_rate": Continuous(0.005, 0.01), "batch_size": Categorical(32, 64), "epochs": Categorical(2, 3)}
VIT = "timm:vit_tiny_patch16_224"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/output"


def training(pairs: dict[str, str], **more: Any) -> dict[str, Any]:
    """A CreateTrainingJob request like that of a job."""
    folder = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": "dogs",
        "HyperParameters": {
            **pairs,
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
        },
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker",
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "valid_loss", "Regex": 'breedclf-metrics .*"valid_loss": ([-+0-9.eE]+)'},
                {"Name": "best_valid_loss", "Regex": 'breedclf-metrics .*"best_valid_loss": ([-+0-9.eE]+)'},
                {"Name": "best_valid_accuracy", "Regex": 'breedclf-metrics .*"best_valid_accuracy": ([-+0-9.eE]+)'},
            ],
        },
        "RoleArn": "arn:aws:iam::111122223333:role/breedclf",
        "InputDataConfig": [
            {
                "ChannelName": "code",
                "DataSource": {"S3DataSource": {**folder, "S3Uri": "s3://bucket/breedclf/code/0123/"}},
                "InputMode": "File",
            },
            {
                "ChannelName": "training",
                "DataSource": {"S3DataSource": {**folder, "S3Uri": "s3://bucket/breedclf/data/dogs-4567/"}},
                "InputMode": "File",
            },
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/breedclf/jobs"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3_600},
        "EnableNetworkIsolation": False,
        "Tags": [
            {"Key": "breedclf", "Value": "1.0"},
            {"Key": "breedclf-purpose", "Value": "training"},
            {"Key": "breedclf-tuning", "Value": "dogs"},
        ],
        **more,
    }


def searched(**changes: Any) -> NativeSearch:
    config = changes.pop("config", TrainingConfig(data="dogs", weights="none"))
    values: dict[str, Any] = {"name": "dogs", "config": config, "space": SPACE, "max_jobs": 8, "max_parallel_jobs": 2}
    request = SearchRequest(**{**values, **changes})
    config = config.replace(objective=request.objective)
    pairs = {k: v for k, v in config.to_hyperparameters().items() if k not in ("data", "output", "cache_dir")}
    if request.weights:
        pairs = {name: value for name, value in pairs.items() if name != "weights"} | sent_with_job(request.weights)[0]
    return NativeSearch(request, JobSpec("dogs", pairs))


def made(more: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    search = searched(**changes)
    return tuning_request(search, training(dict(search.job.hyperparameters), **(more or {})))


CASES: dict[str, Any] = {
    "bayesian": lambda: made(),
    "grid": lambda: made(
        strategy="grid", max_jobs=None, space={"learning_rate": Categorical(0.005, 0.0075, 0.01), **_CHOICES}
    ),
    "grid_of_ranges": lambda: made(
        strategy="grid", max_jobs=None, grid_points=3, space={"learning_rate": Continuous(0.001, 0.1, "log")}
    ),
    "random_with_an_end": lambda: made(
        strategy="random",
        seed=7,
        objective="valid_accuracy",
        completion=Completion(target=0.95, not_improving=4, max_seconds=7_200),
        space={"learning_rate": Continuous(1e-5, 0.1, "log"), "epochs": Integer(2, 20)},
    ),
    "networks": lambda: made(
        {
            "InputDataConfig": [
                *training({})["InputDataConfig"],
                {
                    "ChannelName": "weights_1",
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/breedclf/weights/0/"}
                    },
                },
            ]
        },
        weights={"resnet50": "none", VIT: "vit.pth"},
        space={"architecture": Categorical("resnet50", VIT), **_CHOICES},
    ),
    "early_stopping": lambda: made({"Environment": {TELL_BEST_VARIABLE: "1"}}, early_stopping=True),
    "spot_kms_vpc": lambda: made(
        {
            "EnableManagedSpotTraining": True,
            "CheckpointConfig": {"S3Uri": "s3://bucket/breedclf/jobs/dogs/checkpoints"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3_600, "MaxWaitTimeInSeconds": 7_200},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/breedclf/jobs", "KmsKeyId": KEY},
            "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "ProfilerConfig": {"S3OutputPath": "s3://bucket/breedclf/jobs"},
        }
    ),
}
_CHOICES = {"batch_size": Categorical(32, 64), "head": Categorical("standardized", "linear")}


@pytest.mark.parametrize("case", CASES)
def test_a_request_is_valid_and_as_it_was_read(case: str) -> None:
    request = CASES[case]()
    validate_call(ApiCall("CreateHyperParameterTuningJob", request))
    assert ("RandomSeed" in request["HyperParameterTuningJobConfig"]) == (not case.startswith("grid"))
    file = SNAPSHOTS / f"tuning_{case}.json"
    text = json.dumps(request, indent=2) + "\n"
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        pytest.fail(f"{file.name} was not there: it is written now; read it, and keep it if it is right")
    assert text == file.read_text(encoding="utf-8"), f"read the change; delete {file.name} to have it written again"


@pytest.mark.parametrize("case", CASES)
def test_the_service_s_record_gives_the_search_again(case: str) -> None:
    request = CASES[case]()
    found = search_request("dogs", request)
    again = tuning_request(NativeSearch(found, searched().job), training(found.config.to_hyperparameters()))
    assert again["HyperParameterTuningJobConfig"] == request["HyperParameterTuningJobConfig"]
    assert found.config.weights == ("IMAGENET1K_V1" if case == "networks" else "none")
    assert found.max_seconds_per_job == 3_600
    assert str(found.config.data) == "s3:/bucket/breedclf/data/dogs-4567"


def test_the_service_s_record_gives_the_weights_of_each_network_again() -> None:
    found = search_request("dogs", CASES["networks"]())
    assert found.weights == {"resnet50": "none", VIT: "s3:/bucket/breedclf/weights/0"}
    assert found.space["architecture"] == Categorical("resnet50", VIT)


def test_static_hyperparameters_are_text_and_none_of_the_tuned() -> None:
    static = made()["TrainingJobDefinition"]["StaticHyperParameters"]
    assert not set(static) & set(SPACE)
    assert all(isinstance(value, str) for value in static.values())
    assert static["sagemaker_program"] == "train.py" and static["architecture"] == "resnet50"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"completion": Completion(not_improving=2)}, "not_improving=2: a tuning job .* at least 3"),
        ({"completion": Completion(max_seconds=60)}, "max_seconds=60: a tuning job on SageMaker runs from 120 to"),
        ({"seed": 2**31}, "seed=2147483648: a tuning job on SageMaker takes at most 2147483647"),
    ],
)
def test_what_a_tuning_job_can_t_do_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**changes)


def test_an_objective_that_the_job_doesn_t_define_is_refused() -> None:
    search = searched()
    request = training(dict(search.job.hyperparameters))
    del request["AlgorithmSpecification"]["MetricDefinitions"]
    with pytest.raises(ConfigError, match="doesn't define the objective metric best_valid_loss"):
        tuning_request(search, request)


def test_tuning_jobs_of_others_are_not_ours() -> None:
    request = made()
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = "validation:auc"
    with pytest.raises(ConfigError, match="tuning job 'x' was not created by breedclf"):
        search_request("x", request)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Strategi": "Grid"}, "Unknown member 'Strategi' at 'hyperParameterTuningJobConfig'"),
        ({"Strategy": "Gird"}, r"'Gird' at 'hyperParameterTuningJobConfig.strategy' .* enum value set: \[Bayesian"),
        ({"RandomSeed": -1}, "at 'hyperParameterTuningJobConfig.randomSeed' failed to satisfy constraint"),
    ],
)
def test_a_misspelled_request_is_refused_before_it_is_sent(change: dict[str, Any], words: str) -> None:
    request = made()
    request["HyperParameterTuningJobConfig"].update(change)
    with pytest.raises(ConfigError, match=words):
        validate_call(ApiCall("CreateHyperParameterTuningJob", request))
