"""The search of a journey as a SageMaker pipeline: valid requests, and the expressions that the SDK writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.jobs.plan import ApiCall
from breedclf.journey.journey import Journey
from breedclf.model_store.gate import Gate
from breedclf.testing.images import write_image_set
from breedclf.tuning.space import Categorical
from tests.backends.conftest import Clients
from tests.backends.emulator.test_pipelines import create, finished, start, steps_taken
from tests.backends.emulator.test_serving import OWN_IMAGE, in_service
from tests.backends.sagemaker.contexts import ROLE, backend_at
from tests.backends.sagemaker.job_requests import variant

SPACE = {"learning_rate": Categorical(0.005, 0.01)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(
        tmp_path_factory.mktemp("images") / "shapes", classes=2, train=2, valid=2, test=1, size_px=32
    )


@pytest.fixture
def backend(quick: Emulator, quick_bucket: str, tmp_path: Path) -> SageMakerBackend:
    return backend_at(quick, quick_bucket, tmp_path / "home", serving_image=OWN_IMAGE)


def journey(images: Path, output: Path, backend: Any, *, objective: str = "valid_accuracy", **settings: Any) -> Journey:
    training = TrainingConfig(data=images, architecture="resnet18", weights="none", epochs=1, objective=objective)
    return Journey(training, space=SPACE, backend=backend, output=output, **settings)


def steps_of(definition: str) -> dict[str, dict[str, Any]]:
    """Each step's arguments, and those of a condition's branches, by type."""
    steps = json.loads(definition)["Steps"]
    inner = [each for step in steps for key in ("IfSteps", "ElseSteps") for each in step["Arguments"].get(key, ())]
    return {each["Type"]: each["Arguments"] for each in [*steps, *inner]}


def resolved(value: Any, job: str) -> Any:
    """A value with its expressions, as a pipeline would resolve them for the best training job."""
    if isinstance(value, list):
        return [resolved(each, job) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Get"}:
        return {"Steps.Tune.BestTrainingJob.TrainingJobName": job}[value["Get"]]
    if set(value) == {"Std:Join"}:
        joined = value["Std:Join"]
        return joined["On"].join(resolved(joined["Values"], job))
    return {name: resolved(each, job) for name, each in value.items()}


def test_each_step_is_a_valid_request_and_its_inputs_are_in_s3(
    images: Path, tmp_path: Path, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str
) -> None:
    definition = journey(images, tmp_path / "out", backend).to_sagemaker_pipeline()
    pipeline = {"PipelineName": "dogs", "RoleArn": ROLE, "ClientRequestToken": "0" * 32}
    validate_call(ApiCall("CreatePipeline", {**pipeline, "PipelineDefinition": definition}), "us-east-1")
    document, steps = json.loads(definition), steps_of(definition)
    assert document["Version"] == "2020-12-01"
    assert [(each["Name"], each["Type"]) for each in document["Steps"]] == [
        ("Tune", "Tuning"),
        ("RegisterBest", "RegisterModel"),
    ]
    tuning = steps["Tuning"]
    assert "HyperParameterTuningJobName" not in tuning, "SageMaker names it"
    validate_call(ApiCall("CreateHyperParameterTuningJob", {**tuning, "HyperParameterTuningJobName": "x"}), "us-east-1")
    assert tuning["HyperParameterTuningJobConfig"]["Strategy"] == "Grid"
    uris = [each["DataSource"]["S3DataSource"]["S3Uri"] for each in tuning["TrainingJobDefinition"]["InputDataConfig"]]
    for uri in uris:
        prefix = uri.removeprefix(f"s3://{quick_bucket}/")
        assert quick_client("s3").list_objects_v2(Bucket=quick_bucket, Prefix=prefix)["KeyCount"], uri
    package = resolved(steps["RegisterModel"], "job-1")
    validate_call(ApiCall("CreateModelPackage", package), "us-east-1")
    [container] = package["InferenceSpecification"]["Containers"]
    output = tuning["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]
    assert container["ModelDataUrl"] == f"{output}/job-1/output/model.tar.gz"
    assert package["ModelPackageGroupName"] == "shapes"


def test_a_baseline_becomes_a_condition(images: Path, tmp_path: Path, backend: SageMakerBackend) -> None:
    made = journey(images, tmp_path / "out", backend, gate=Gate(baseline=0.8), name="dogs").to_sagemaker_pipeline()
    steps = steps_of(made)
    assert [each["Type"] for each in json.loads(made)["Steps"]] == ["Tuning", "Condition"]
    assert steps["Condition"]["Conditions"][0]["RightValue"] == 0.8
    assert steps["RegisterModel"]["ModelPackageGroupName"] == "dogs"
    assert "below 0.8" in steps["Fail"]["ErrorMessage"]


@pytest.mark.slow
def test_the_emulator_runs_the_pipeline_and_its_model_is_served(
    images: Path, tmp_path: Path, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str
) -> None:
    made = journey(images, tmp_path / "out", backend, gate=Gate(baseline=0.01), name=quick_bucket)
    create(quick_client, quick_bucket, made.to_sagemaker_pipeline())
    arn = start(quick_client, quick_bucket)
    ended = finished(quick_client, arn)
    assert ended["PipelineExecutionStatus"] == "Succeeded", ended.get("FailureReason")
    package = steps_taken(quick_client, arn)["RegisterBest"]["Metadata"]["RegisterModel"]["Arn"]
    sagemaker, name = quick_client("sagemaker"), quick_bucket
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": package})
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variant(name))
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(quick_client, name)
    image = next((images / "test").rglob("*.jpg")).read_bytes()
    runtime = quick_client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=name, Body=image, ContentType="image/jpeg")
    labels = {each["label"] for each in json.loads(answer["Body"].read())["predictions"]}
    assert labels == {each.name for each in (images / "train").iterdir()}
    sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK imports its own old modules
def test_expressions_and_steps_are_those_of_the_sdk(
    images: Path, tmp_path: Path, backend: SageMakerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.core.workflow.functions import Join
    from sagemaker.core.workflow.properties import Properties
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.steps import StepTypeEnum

    made = journey(images, tmp_path / "out", backend, gate=Gate(baseline=0.8)).to_sagemaker_pipeline()
    document, steps = json.loads(made), steps_of(made)
    best = Properties("Tune", shape_name="DescribeHyperParameterTuningJobResponse").BestTrainingJob
    output = steps["Tuning"]["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]
    uri = Join(on="/", values=[output, best.TrainingJobName, "output/model.tar.gz"])
    assert steps["RegisterModel"]["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == uri.expr
    value = best.FinalHyperParameterTuningJobObjectiveMetric.Value
    condition = ConditionGreaterThanOrEqualTo(left=value, right=0.8)
    fail = FailStep("Refuse", error_message=steps["Fail"]["ErrorMessage"])
    step = ConditionStep("CheckObjective", conditions=[condition], else_steps=[fail]).to_request()
    expected = json.loads(json.dumps(step, default=lambda each: each.expr))
    assert {name: document["Steps"][1][name] for name in ("Name", "Type")} == {
        name: expected[name] for name in ("Name", "Type")
    }
    for name in ("Conditions", "ElseSteps"):
        assert document["Steps"][1]["Arguments"][name] == expected["Arguments"][name]
    assert {"Tuning", "RegisterModel"} <= {each.value for each in StepTypeEnum}


def test_what_a_pipeline_cannot_do_is_refused_before_anything_is_uploaded(
    images: Path, tmp_path: Path, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str
) -> None:
    loss = {"objective": "valid_loss", "gate": Gate(baseline=0.8)}
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (None, {}, "needs a SageMakerBackend"),
        (backend, loss, r"gate.baseline=0.8 with objective='valid_loss'.*needs objective='valid_accuracy'"),
        (backend, {"candidates": ("resnet18", "resnet50")}, "a pipeline can't compare backbones"),
        (backend, {"name": "d" * 64}, "SageMaker allows at most 63"),
    ]
    for where, settings, message in cases:
        with pytest.raises(ConfigError, match=message):
            journey(images, tmp_path / "out", where, **settings).to_sagemaker_pipeline()
    assert quick_client("s3").list_objects_v2(Bucket=quick_bucket)["KeyCount"] == 0
