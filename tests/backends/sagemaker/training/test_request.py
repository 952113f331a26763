"""The request of a training job: readable snapshots, each valid by botocore's service model, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.training.debugger import DEBUG_RULES, PROFILER_RULES, without_debugger
from breedclf.backends.sagemaker.training.request import JobImages, JobPlaces, training_request, vpc_note
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.jobs.metric_lines import MetricDefinition

SNAPSHOTS = Path(__file__).parents[1] / "requests"
ROLE = "arn:aws:iam::111122223333:role/breedclf"
IMAGE = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker"
CUDA = IMAGE.replace("-cpu-", "-cu130-")
PLACES = JobPlaces(
    code="s3://bucket/breedclf/code/0123",
    channels={"training": "s3://bucket/breedclf/data/dogs-4567", "weights": "s3://bucket/breedclf/weights/89ab"},
    jobs="s3://bucket/breedclf/jobs",
)
TAGS = [{"Key": "breedclf", "Value": "1.0"}, {"Key": "breedclf-purpose", "Value": "training"}]
METRICS = (MetricDefinition("valid_loss", 'breedclf-metrics .*"valid_loss": ([-+0-9.eE]+)'),)


def spec(**changes: Any) -> JobSpec:
    values: dict[str, Any] = {
        "hyperparameters": {"epochs": "2", "learning_rate": "0.005"},
        "channels": {"training": Path("dogs"), "weights": Path("resnet50.pth")},
        "metric_definitions": METRICS,
        "max_runtime_seconds": 3_600,
    }
    return JobSpec("train-1", **(values | changes))


def request(job: JobSpec, *, debugger: str | None = None, image: str = IMAGE, **settings: Any) -> dict[str, Any]:
    return training_request(
        job,
        SageMakerSettings(role=ROLE, **settings),
        role=ROLE,
        images=JobImages(image, debugger),
        places=PLACES,
        tags=TAGS,
    )


CASES: dict[str, Any] = {
    "timm": lambda: request(
        spec(hyperparameters={"architecture": "timm:vit_tiny_patch16_224", "weights": "pretrained", "epochs": "2"})
    ),
    "plain": lambda: request(spec()),
    "spot": lambda: request(spec(spot=True)),
    "several_gpus": lambda: request(spec(), image=CUDA, instance_type="ml.g5.12xlarge"),
    "several_machines": lambda: request(spec(), image=CUDA, instance_type="ml.g4dn.xlarge", instance_count=2),
    "kms_and_vpc": lambda: request(
        spec(),
        volume_kms_key="arn:aws:kms:eu-west-1:111122223333:key/volume",
        output_kms_key="arn:aws:kms:eu-west-1:111122223333:key/output",
        subnets="subnet-1,subnet-2",
        security_groups=["sg-1"],
    ),
    "isolated": lambda: request(spec(), network_isolation=True, wheels="wheels"),
    "fast_file": lambda: request(spec(environment={"OMP_NUM_THREADS": "4"}), input_mode="FastFile", volume_gb=5),
    "debugger": lambda: request(spec(), debugger="503895931360.dkr.ecr.us-east-1.amazonaws.com/rules:latest"),
}


@pytest.fixture(scope="module")
def model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


@pytest.mark.parametrize("case", CASES)
def test_a_request_is_valid_and_as_it_was_read(case: str, model: ServiceModel) -> None:
    made = CASES[case]()
    shape = model.operation_model("CreateTrainingJob").input_shape
    assert ParamValidator().validate(made, shape).generate_report() == ""
    text = json.dumps(made, indent=2) + "\n"
    assert text == (SNAPSHOTS / f"training_{case}.json").read_text(encoding="utf-8")


def test_a_misspelt_request_would_be_noticed(model: ServiceModel) -> None:
    shape = model.operation_model("CreateTrainingJob").input_shape
    made = request(spec())
    made["StopingCondition"] = made.pop("StoppingCondition")
    assert "StopingCondition" in ParamValidator().validate(made, shape).generate_report()


def test_every_machine_that_the_settings_name_is_one_of_sagemaker_s(model: ServiceModel) -> None:
    names = model.shape_for("TrainingInstanceType").enum
    assert SageMakerSettings().instance_type in names


@pytest.mark.parametrize(
    ("job", "settings", "message"),
    [
        ({"max_runtime_seconds": 3e6}, {}, "runs at most 2419200 s"),
        ({"gpus": 1}, {}, "gpus=1, but ml.m5.xlarge has 0"),
        ({}, {"volume_kms_key": "k", "instance_type": "ml.g5.xlarge", "image": CUDA}, "its local disk"),
        ({}, {"instance_type": "ml.g5.xlarge"}, "'ml.g5.xlarge' has a GPU, which .*cpu-amzn2023-sagemaker can't use"),
        (
            {"channels": {"training": Path("dogs")}},
            {"network_isolation": True, "wheels": "wheels"},
            "weights='IMAGENET1K_V1' of resnet50 is downloaded by the job",
        ),
        (
            {
                "channels": {"training": Path("dogs"), "weights_1": Path("vit.pth")},
                "hyperparameters": {
                    "architecture_weights": '{"timm:vit_tiny_patch16_224": "weights_1", "timm:tf_efficientnet_lite0": '
                    '"pretrained", "resnet18": "none"}'
                },
            },
            {"network_isolation": True, "wheels": "wheels"},
            "weights='pretrained' of timm:tf_efficientnet_lite0 is downloaded by the job, which network_isolation",
        ),
        ({"spot": True}, {"max_wait_seconds": 60}, "max_wait_seconds=60 is less than"),
        (
            {"hyperparameters": {f"h{n}": "1" for n in range(99)}},
            {},
            "99 hyperparameters: a job on SageMaker takes at most 98",
        ),
    ],
)
def test_what_sagemaker_would_refuse_is_refused_here(
    job: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        request(spec(**job), **settings)


def test_the_rules_are_named_and_parametrised_as_aws_publishes_them() -> None:
    published = pytest.importorskip("smdebug_rulesconfig")
    for name in PROFILER_RULES:
        assert getattr(published, name)().rule_name == name
    for name in DEBUG_RULES:
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        rule = getattr(published, snake)()["DebugRuleConfiguration"]
        assert rule["RuleParameters"]["rule_to_invoke"] == name


def test_an_account_without_debugger_gets_the_plain_request() -> None:
    assert without_debugger(CASES["debugger"]()) == request(spec())


def test_a_region_without_a_debugger_image_costs_a_warning_and_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text("")
    image = IMAGE.replace("eu-west-1", "ap-southeast-4")
    backend = SageMakerBackend(ROLE, "images", "ap-southeast-4", image=image, debugger=True, home=tmp_path)
    made = backend.request_for(JobSpec("train-1", source=tmp_path / "source"))
    assert not {"DebugHookConfig", "DebugRuleConfigurations", "ProfilerRuleConfigurations"} & set(made)
    assert "the SageMaker Debugger image in ap-southeast-4 is not in the SageMaker SDK" in caplog.text
    assert "the job runs without SageMaker Debugger" in caplog.text


def test_a_job_in_a_vpc_is_told_what_it_downloads() -> None:
    in_vpc = SageMakerSettings(role=ROLE, subnets=["subnet-1"], security_groups=["sg-1"])
    job = spec(channels={"training": Path("dogs")}, hyperparameters={"architecture": "timm:x", "weights": "pretrained"})
    assert (vpc_note(job, in_vpc) or "").startswith(
        "weights='pretrained' of timm:x is downloaded by the job: its subnets need a route to the internet"
    )
    assert vpc_note(job, SageMakerSettings(role=ROLE)) is None
    assert vpc_note(spec(), in_vpc) is None
