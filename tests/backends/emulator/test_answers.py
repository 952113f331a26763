"""The emulator's answers hold what AWS's always hold, and nothing that AWS's can't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.endpoints.end_schedule import schedule_request
from tests.backends.conftest import Clients
from tests.backends.emulator.answers import answer_faults, checks_of
from tests.backends.emulator.test_model_packages import package_request
from tests.backends.emulator.test_pipelines import FAIL, definition, finished
from tests.backends.emulator.test_serving import in_service, upload_echo
from tests.backends.emulator.test_tuning import ended
from tests.backends.sagemaker.job_requests import ROLE, model_request, script_job, tuning_job, variant, wait_for_job
from tests.waiting import until

# What AWS's own answers always hold, by the SageMaker API Reference's defaults and the answers that its guides print.
TRAINING = {
    "InputDataConfig": [
        {
            "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated"}},
            "CompressionType": "None",
            "RecordWrapperType": "None",
        }
    ],
    "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}
PROFILER = {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False}
TUNING = {"TrainingJobEarlyStoppingType": "Off", "ParameterRanges": {"IntegerParameterRanges": []}}
TRANSFORM = {
    "TransformInput": {"CompressionType": "None", "SplitType": "None"},
    "TransformOutput": {"AssembleWith": "None", "KmsKeyId": ""},
    "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
}
GRID = {
    "Strategy": "Grid",
    "ResourceLimits": {"MaxParallelTrainingJobs": 2},
    "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["1", "2"]}]},
}
SCRIPT = 'import json, os\nprint("loss=" + json.loads(os.environ["SM_HPS"]).get("rate", "3"))\n'


def holds(answer: Any, expected: Any) -> bool:
    """Whether an answer holds at least what is expected."""
    if isinstance(expected, Mapping):
        return all(name in answer and holds(answer[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(holds, answer, expected))
    return bool(answer == expected)


def test_answers_of_every_operation_match_botocores_model(
    quick: Emulator, quick_client: Clients, quick_bucket: str
) -> None:
    sagemaker, logs = quick_client("sagemaker"), quick_client("logs")
    checks_of(quick).answered.clear()
    train_and_ask(quick_client, quick_bucket)
    tune_and_ask(quick_client, quick_bucket)
    serve_and_ask(quick_client, quick_bucket)
    register_and_ask(quick_client, quick_bucket)
    run_a_pipeline_and_ask(quick_client)
    for name in ("shaped", "shaped-long"):
        sagemaker.delete_training_job(TrainingJobName=name)
    assert logs.describe_log_groups()["logGroups"]
    every = {name for operations in quick.plane.operations.values() for name in operations}
    assert every - checks_of(quick).answered == set(), "the run must ask for every operation"


def register_and_ask(client: Clients, bucket: str) -> None:
    sagemaker = client("sagemaker")
    group = {"ModelPackageGroupName": "shaped"}
    sagemaker.create_model_package_group(**group, ModelPackageGroupDescription="for a test")
    assert sagemaker.describe_model_package_group(**group)["ModelPackageGroupStatus"] == "Completed"
    request = package_request(upload_echo(client, bucket, "registered"))
    arn = sagemaker.create_model_package(**group, **request)["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert holds(
        described, {"ModelPackageVersion": 1, "ModelApprovalStatus": "Approved", "ApprovalDescription": "good"}
    )
    assert sagemaker.list_model_packages(**group)["ModelPackageSummaryList"]
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(**group)


def run_a_pipeline_and_ask(client: Clients) -> None:
    sagemaker, pipeline = client("sagemaker"), {"PipelineName": "shaped"}
    text = definition([FAIL])
    sagemaker.create_pipeline(**pipeline, PipelineDefinition=text, RoleArn=ROLE)
    sagemaker.update_pipeline(**pipeline, PipelineDescription="for a test")
    execution = {"PipelineExecutionArn": sagemaker.start_pipeline_execution(**pipeline)["PipelineExecutionArn"]}
    assert finished(client, execution["PipelineExecutionArn"])["PipelineExecutionStatus"] == "Failed"
    assert holds(sagemaker.describe_pipeline(**pipeline), {"PipelineDefinition": text, "PipelineStatus": "Active"})
    assert sagemaker.list_pipelines()["PipelineSummaries"]
    assert sagemaker.list_pipeline_executions(**pipeline)["PipelineExecutionSummaries"]
    assert sagemaker.list_pipeline_execution_steps(**execution)["PipelineExecutionSteps"]
    sagemaker.stop_pipeline_execution(**execution)
    sagemaker.delete_pipeline(**pipeline)


def train_and_ask(client: Clients, bucket: str) -> None:
    sagemaker, logs, group = client("sagemaker"), client("logs"), "/aws/sagemaker/TrainingJobs"
    request = script_job(client, bucket, "shaped", SCRIPT, StoppingCondition={}, Tags=[{"Key": "a", "Value": "b"}])
    request["ProfilerConfig"] = {"S3OutputPath": f"s3://{bucket}/profile"}
    rule = {"RuleConfigurationName": "LossNotDecreasing", "RuleEvaluatorImage": "503895931360.dkr.ecr/debugger:latest"}
    arn = sagemaker.create_training_job(**request, DebugRuleConfigurations=[rule])["TrainingJobArn"]
    job = wait_for_job(client, "shaped")
    assert holds(job, TRAINING)
    assert holds(job["ProfilerConfig"], PROFILER)
    assert job["DebugRuleEvaluationStatuses"][0]["RuleEvaluationStatus"] == "Error"
    assert sagemaker.list_training_jobs(NameContains="shaped")["TrainingJobSummaries"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    assert len(sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 2
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["c"])
    found = sagemaker.search(Resource="TrainingJob", SearchExpression={"Filters": [{"Name": "Tags.a", "Value": "b"}]})
    assert found["Results"][0]["TrainingJob"]["TrainingJobName"] == "shaped"
    stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="shaped/")["logStreams"][0]
    assert logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert logs.filter_log_events(logGroupName=group, logStreamNamePrefix="shaped/")["events"]
    long = script_job(client, bucket, "shaped-long", "import time\ntime.sleep(60)\n")
    sagemaker.create_training_job(**long)
    sagemaker.stop_training_job(TrainingJobName="shaped-long")
    assert wait_for_job(client, "shaped-long")["TrainingJobStatus"] == "Stopped"


def tune_and_ask(client: Clients, bucket: str) -> None:
    sagemaker = client("sagemaker")
    request = tuning_job(client, bucket, "shaped-grid", SCRIPT, GRID)
    request["TrainingJobDefinition"]["StoppingCondition"] = {}
    sagemaker.create_hyper_parameter_tuning_job(**request)
    done = ended(client, "shaped-grid")
    assert holds(done["TrainingJobDefinition"], TRAINING)
    assert holds(done["HyperParameterTuningJobConfig"], TUNING)
    assert done["ConsumedResources"]["RuntimeInSeconds"] >= 0
    named = {"HyperParameterTuningJobName": "shaped-grid"}
    assert len(sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**named)["TrainingJobSummaries"]) == 2
    assert sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    sagemaker.delete_hyper_parameter_tuning_job(**named)
    again = tuning_job(client, bucket, "shaped-stopped", "import time\ntime.sleep(60)\n", GRID)
    sagemaker.create_hyper_parameter_tuning_job(**again)
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="shaped-stopped")
    ended(client, "shaped-stopped")


def serve_and_ask(client: Clients, bucket: str) -> None:
    sagemaker = client("sagemaker")
    sagemaker.create_model(**model_request("shaped", upload_echo(client, bucket, "shaped")))
    model = sagemaker.describe_model(ModelName="shaped")
    assert holds(model, {"PrimaryContainer": {"Mode": "SingleModel"}, "EnableNetworkIsolation": False})
    config = {"EndpointConfigName": "shaped", "ProductionVariants": variant("shaped")}
    sagemaker.create_endpoint_config(**config)
    described = sagemaker.describe_endpoint_config(EndpointConfigName="shaped")
    assert holds(described, {"ProductionVariants": [{"InitialVariantWeight": 1.0}], "EnableNetworkIsolation": False})
    sagemaker.create_endpoint(EndpointName="shaped", EndpointConfigName="shaped")
    assert in_service(client, "shaped")["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    transform_and_ask(client, bucket)
    sagemaker.update_endpoint(EndpointName="shaped", EndpointConfigName="shaped")
    in_service(client, "shaped")
    assert sagemaker.list_models()["Models"]
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert sagemaker.list_endpoints()["Endpoints"]
    sagemaker.delete_endpoint(EndpointName="shaped")
    sagemaker.delete_endpoint_config(EndpointConfigName="shaped")
    sagemaker.delete_model(ModelName="shaped")


def transform_and_ask(client: Clients, bucket: str) -> None:
    sagemaker = client("sagemaker")
    client("s3").put_object(Bucket=bucket, Key="asked/one", Body=b"1")
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/asked/"}}}
    request = {
        "ModelName": "shaped",
        "TransformInput": source,
        "TransformOutput": {"S3OutputPath": f"s3://{bucket}/described"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    for name in ("shaped", "shaped-stopped"):
        sagemaker.create_transform_job(TransformJobName=name, **request)
    sagemaker.stop_transform_job(TransformJobName="shaped-stopped")

    def look(name: str) -> dict[str, Any] | None:
        found: dict[str, Any] = sagemaker.describe_transform_job(TransformJobName=name)
        return found if found["TransformJobStatus"] in ("Completed", "Stopped", "Failed") else None

    done = until(lambda: look("shaped"))
    assert done["TransformJobStatus"] == "Completed"
    assert holds(done, TRANSFORM)
    until(lambda: look("shaped-stopped"))
    assert sagemaker.list_transform_jobs()["TransformJobSummaries"]


@pytest.fixture
def parsed(quick: Emulator) -> Iterator[Clients]:
    """Clients whose answers are compared as botocore has parsed them: STS and IAM answer in XML."""

    def client(service: str) -> Any:
        made = quick.session().client(service, endpoint_url=quick.url, region_name="us-east-1")

        def check(model: Any, parsed: dict[str, Any], **_: Any) -> None:
            answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
            assert answer_faults(service, model.name, answer) == []
            output = model.output_shape.members if model.output_shape else {}
            assert set(answer) <= set(output)

        made.meta.events.register_first(f"after-call.{service}.*", check)
        return made

    return client


def test_answers_of_sts_iam_and_the_scheduler_match_their_models(parsed: Clients) -> None:
    sts, iam, scheduler = parsed("sts"), parsed("iam"), parsed("scheduler")
    assert set(sts.get_caller_identity()) >= {"UserId", "Account", "Arn"}
    assert sts.assume_role(RoleArn=ROLE, RoleSessionName="tests")["PackedPolicySize"] == 0
    assert sts.get_session_token()["Credentials"]["Expiration"] > datetime.now(UTC)
    role = iam.get_role(RoleName="breedclf")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    asked = iam.simulate_principal_policy(PolicySourceArn=ROLE, ActionNames=["s3:GetObject"])
    assert asked["EvaluationResults"][0]["EvalDecision"] == "allowed"

    request = schedule_request("shaped", expires=(datetime.now(UTC) + timedelta(hours=1)).timestamp(), role=ROLE)
    arn = scheduler.create_schedule(**request)["ScheduleArn"]
    described = scheduler.get_schedule(Name=request["Name"])
    assert described["Arn"] == arn == f"arn:aws:scheduler:us-east-1:123456789012:schedule/default/{request['Name']}"
    assert {"CreationDate", "LastModificationDate", "ScheduleExpressionTimezone", "State"} <= set(described)
    scheduler.delete_schedule(Name=request["Name"])
