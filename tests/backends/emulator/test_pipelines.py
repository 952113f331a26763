"""Pipelines at the emulator: a search, a condition and a registration run as jobs; what isn't known is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf.backends.emulator.pipelines.definition import holds, resolved, steps_of
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.server import emulator
from breedclf.backends.local.backend import LocalBackend
from tests.backends.conftest import Clients, clients_at
from tests.backends.emulator.test_model_packages import package_request
from tests.backends.sagemaker.job_requests import ROLE, tuning_job
from tests.waiting import until

GRID = {
    "Strategy": "Grid",
    "ResourceLimits": {"MaxParallelTrainingJobs": 2},
    "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["1", "2"]}]},
}
SCRIPT = """
import json, os
rate = str(json.loads(os.environ["SM_HPS"])["rate"])
open(os.path.join(os.environ["SM_MODEL_DIR"], "rate"), "w").write(rate)
print("loss=" + rate)
"""
BEST = "Steps.Tune.BestTrainingJob"
LOSS = {"Get": f"{BEST}.FinalHyperParameterTuningJobObjectiveMetric.Value"}


def definition(steps: list[dict[str, Any]], **changes: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": steps, **changes})


def search(client: Clients, bucket: str, script: str = SCRIPT) -> list[dict[str, Any]]:
    """The steps of a search whose best model is registered if its loss is below 1.5."""
    tuning = tuning_job(client, bucket, bucket, script, GRID)
    del tuning["HyperParameterTuningJobName"]
    output = tuning["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    uri = {"Std:Join": {"On": "/", "Values": [output, {"Get": f"{BEST}.TrainingJobName"}, "output/model.tar.gz"]}}
    register = {"ModelPackageGroupName": bucket, **package_request("s3://to-be-joined/m")}
    register["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] = uri
    condition = {"Type": "LessThan", "LeftValue": LOSS, "RightValue": 1.5}
    return [
        {"Name": "Tune", "Type": "Tuning", "Arguments": tuning},
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [condition],
                "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": register}],
                "ElseSteps": [{"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": "the loss is high"}}],
            },
        },
    ]


def create(client: Clients, name: str, text: str) -> str:
    pipeline = {"PipelineName": name, "PipelineDefinition": text, "RoleArn": ROLE}
    return str(client("sagemaker").create_pipeline(**pipeline)["PipelineArn"])


def start(client: Clients, name: str) -> str:
    return str(client("sagemaker").start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"])


def finished(client: Clients, arn: str) -> dict[str, Any]:
    describe = client("sagemaker").describe_pipeline_execution
    over = ("Succeeded", "Failed", "Stopped")
    found: dict[str, Any] = until(
        lambda: (each := describe(PipelineExecutionArn=arn))["PipelineExecutionStatus"] in over and each
    )
    return found


def steps_taken(client: Clients, arn: str) -> dict[str, dict[str, Any]]:
    listed = client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {each["StepName"]: each for each in listed["PipelineExecutionSteps"]}


def test_the_best_model_of_a_search_is_registered(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker = quick_client("sagemaker")
    steps = search(quick_client, quick_bucket)
    pipeline = create(quick_client, quick_bucket, definition(steps))
    arn = start(quick_client, quick_bucket)
    with pytest.raises(ClientError, match="has executions that are in progress"):
        sagemaker.delete_pipeline(PipelineName=quick_bucket)
    ended = finished(quick_client, arn)
    assert ended["PipelineExecutionStatus"] == "Succeeded", ended.get("FailureReason")
    taken = steps_taken(quick_client, arn)
    assert {name: each["StepStatus"] for name, each in taken.items()} == dict.fromkeys(
        ("Tune", "Check", "Register"), "Succeeded"
    )
    assert taken["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    job = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=taken["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    )
    best = job["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"rate": "1"}
    package = sagemaker.describe_model_package(ModelPackageName=taken["Register"]["Metadata"]["RegisterModel"]["Arn"])
    [container] = package["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"].endswith(f"/{best['TrainingJobName']}/output/model.tar.gz")
    assert package["ModelApprovalStatus"] == "PendingManualApproval"

    steps[1]["Arguments"]["Conditions"][0]["RightValue"] = 0.5
    sagemaker.update_pipeline(PipelineName=quick_bucket, PipelineDefinition=definition(steps))
    again = start(quick_client, pipeline)
    assert finished(quick_client, again)["FailureReason"] == "Step failure: Refuse: the loss is high"
    assert set(steps_taken(quick_client, again)) == {"Tune", "Check", "Refuse"}
    listed = sagemaker.list_pipeline_executions(PipelineName=quick_bucket)["PipelineExecutionSummaries"]
    assert [each["PipelineExecutionStatus"] for each in listed] == ["Failed", "Succeeded"]
    sagemaker.delete_pipeline(PipelineName=quick_bucket)
    with pytest.raises(sagemaker.exceptions.ResourceNotFound, match=f"Pipeline '{pipeline}' does not exist"):
        sagemaker.describe_pipeline(PipelineName=quick_bucket)


def test_an_execution_is_stopped_with_its_tuning_job(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker = quick_client("sagemaker")
    create(quick_client, quick_bucket, definition(search(quick_client, quick_bucket, "import time\ntime.sleep(60)\n")))
    arn = start(quick_client, quick_bucket)
    until(lambda: "Metadata" in steps_taken(quick_client, arn).get("Tune", {}))
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert finished(quick_client, arn)["PipelineExecutionStatus"] == "Stopped"
    assert steps_taken(quick_client, arn)["Tune"]["StepStatus"] == "Stopped"


def test_a_step_that_fails_ends_the_execution_with_its_reason(quick_client: Clients, quick_bucket: str) -> None:
    arguments = {"ModelPackageGroupName": quick_bucket, **package_request(f"s3://{quick_bucket}/nothing.tar.gz")}
    create(quick_client, quick_bucket, definition([{"Name": "R", "Type": "RegisterModel", "Arguments": arguments}]))
    arn = start(quick_client, quick_bucket)
    ended = finished(quick_client, arn)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert ended["FailureReason"].startswith("Step failure: R: ClientError: Could not find model data at")
    assert steps_taken(quick_client, arn)["R"]["StepStatus"] == "Failed"


def test_an_execution_continues_with_the_next_emulator(tmp_path: Path) -> None:
    steps = [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "as it must"}}]
    with emulator(LocalBackend(tmp_path / "home", cores=1)) as running:
        running.plane.pipelines.close()  # the emulator ends before the first step
        client = clients_at(running)
        create(client, "later", definition(steps))
        arn = start(client, "later")
        assert client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == (
            "Executing"
        )
    with emulator(LocalBackend(tmp_path / "home", cores=1)) as running:
        assert finished(clients_at(running), arn)["FailureReason"] == "Step failure: F: as it must"


FAIL = {"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}
EQUAL = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


def conditional(name: str = "C", **arguments: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": [EQUAL], **arguments}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't JSON"),
        ("[]", "needs a list of Steps"),
        (definition([FAIL], Version="2019-01-01"), "Version must be 2020-12-01"),
        (definition([FAIL], Parameters=[{"Name": "a", "Type": "String"}]), "Pipelines with Parameters aren't emulated"),
        (definition([{**FAIL, "Type": "Training"}]), "a step of type Training aren't emulated"),
        (definition([{**FAIL, "Type": "Lambda"}]), "a step of type Lambda aren't emulated"),
        (definition([{**FAIL, "CacheConfig": {"Enabled": True}}]), "CacheConfig of a step aren't emulated"),
        (definition([{**FAIL, "Name": "a b"}]), "step name 'a b' must be"),
        (definition([FAIL, FAIL]), "step name 'F' is used more than once"),
        (definition([{**FAIL, "DependsOn": ["Later"]}]), "there is no step 'Later' before"),
        (definition([{**FAIL, "Arguments": {"ErrorMessage": LOSS}}]), "there is no step 'Tune' before"),
        (definition([{**FAIL, "Arguments": {"ErrorMessage": {"Get": "Parameters.x"}}}]), "Get of Parameters.x aren't"),
        (definition([{**FAIL, "Arguments": {"ErrorMessage": {"Std:JsonGet": {}}}}]), "Std:JsonGet aren't emulated"),
        (definition([{**FAIL, "Arguments": {"ErrorMessage": {"Std:Join": {}}}}]), "Std:Join needs Values"),
        (definition([conditional(IfSteps=[conditional("D")])]), "a nested step of type Condition aren't emulated"),
        (definition([conditional(Conditions=[{"Type": "In"}])]), "a condition of type In aren't emulated"),
        (definition([conditional(Conditions=[])]), "needs Conditions"),
        (definition([{"Name": "F"}]), "each step needs a Name, a Type and Arguments"),
    ],
)
def test_definitions_are_refused_by_what_is_not_known(text: str, message: str) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        steps_of(text)
    assert caught.value.code == "ValidationException"


def test_expressions_are_resolved() -> None:
    found = {"Tune": {"Jobs": [{"Name": "a"}, {"Name": "b"}], "Best": {"Value": 0.5}}}
    properties = found.__getitem__
    joined = {"Std:Join": {"On": "-", "Values": ["x", {"Get": "Steps.Tune.Jobs[1].Name"}]}}
    assert resolved({"a": [joined, 1]}, properties) == {"a": ["x-b", 1]}
    condition = {"LeftValue": {"Get": "Steps.Tune.Best.Value"}, "RightValue": 0.5}
    kinds = ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
    assert [holds({**condition, "Type": kind}, properties) for kind in kinds] == [True, False, True, False, True]
    for missing in ("Steps.Tune.Jobs[2].Name", "Steps.Tune.Best.Other", "Steps.Tune.Best.Value.More"):
        with pytest.raises(ServiceError, match="doesn't exist"):
            resolved({"Get": missing}, properties)
    with pytest.raises(ServiceError, match="can't be compared"):
        holds({"Type": "LessThan", "LeftValue": "a", "RightValue": 1}, properties)


def test_names_and_tokens_are_checked(quick_client: Clients, quick_bucket: str) -> None:
    sagemaker, text = quick_client("sagemaker"), definition([FAIL])
    pipeline = {"PipelineName": quick_bucket, "PipelineDefinition": text, "RoleArn": ROLE}
    arns = {sagemaker.create_pipeline(**pipeline, ClientRequestToken="t" * 32)["PipelineArn"] for _ in range(2)}
    assert len(arns) == 1
    with pytest.raises(ClientError, match=f"Pipeline with name \\({quick_bucket}\\) already exists"):
        sagemaker.create_pipeline(**pipeline)
    token = {"PipelineName": quick_bucket, "ClientRequestToken": "s" * 32}
    [run] = {sagemaker.start_pipeline_execution(**token)["PipelineExecutionArn"] for _ in range(2)}
    finished(quick_client, run)
    with pytest.raises(sagemaker.exceptions.ResourceNotFound, match="does not exist"):
        sagemaker.describe_pipeline_execution(PipelineExecutionArn=f"{run}x")
    with pytest.raises(ClientError, match="PipelineParameters isn't emulated"):
        sagemaker.start_pipeline_execution(PipelineName=quick_bucket, PipelineParameters=[{"Name": "a", "Value": "b"}])
    found = sagemaker.list_pipelines(PipelineNamePrefix=quick_bucket)["PipelineSummaries"]
    assert [each["PipelineName"] for each in found] == [quick_bucket]
