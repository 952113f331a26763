"""Tuning jobs at the emulator: children are real training jobs, counted, compared and stopped as AWS does."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.backends.conftest import Clients
from tests.backends.sagemaker.job_requests import script_job, tuning_job
from tests.waiting import until

SCRIPT = """
import json, os
given = json.loads(os.environ["SM_HPS"])
assert set(given) == {"kind"}
losses = {"a": 0.5, "b": 0.25, "c": 0.75}
if given["kind"] == "broken":
    raise SystemExit("no such kind")
print("loss=" + str(losses[given["kind"]]))
"""
EPOCHS = """
import json, os, time
start = json.loads(os.environ["SM_HPS"])["start"]
for epoch in range(1, 300 if start > 1 else 4):
    print("loss=" + str(start / epoch), flush=True)
    time.sleep(0.3)
"""


def ended(client: Clients, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client("sagemaker").describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        return found if found["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped") else None

    found: dict[str, Any] = until(look)
    return found


def test_a_grid_runs_every_value_and_names_the_best(quick_client: Clients, quick_bucket: str) -> None:
    config = {
        "Strategy": "Grid",
        "ResourceLimits": {"MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"', '"b"', "broken", "c"]}]},
    }
    sagemaker = quick_client("sagemaker")
    tags = [{"Key": "purpose", "Value": "tuning"}]
    request = tuning_job(quick_client, quick_bucket, "grid", SCRIPT, config)
    sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags)
    done = ended(quick_client, "grid")

    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 1,
        "Stopped": 0,
    }
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 1}
    assert done["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] == "loss"
    best = done["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"kind": '"b"'}
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "MetricName": "loss",
        "Value": 0.25,
        "Type": "Minimize",
    }

    listed: list[dict[str, Any]] = []
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName="grid", SortBy="FinalObjectiveMetricValue", PaginationConfig={"PageSize": 2}
    )
    for number, page in enumerate(pages, 1):
        assert number <= 2
        listed += page["TrainingJobSummaries"]
    values = [each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in listed]
    assert values == [0.25, 0.5, 0.75]
    child = sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert child["TuningJobArn"] == done["HyperParameterTuningJobArn"]
    assert child["HyperParameters"]["kind"] == '"b"'
    assert sagemaker.list_tags(ResourceArn=child["TrainingJobArn"])["Tags"] == tags
    found = sagemaker.search(
        Resource="TrainingJob",
        SearchExpression={
            "Filters": [
                {"Name": "Tags.purpose", "Operator": "Equals", "Value": "tuning"},
                {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "Failed"},
            ]
        },
    )["Results"]
    assert [each["TrainingJob"]["HyperParameters"]["kind"] for each in found] == ["broken"]
    with pytest.raises(ClientError, match="a tuning job with this name already exists"):
        sagemaker.create_hyper_parameter_tuning_job(**request)


def test_a_job_that_falls_behind_is_stopped_early_and_a_tuning_job_on_request(
    quick_client: Clients, quick_bucket: str
) -> None:
    config = {
        "Strategy": "Grid",
        "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "start", "Values": ["1", "99"]}]},
        "TrainingJobEarlyStoppingType": "Auto",
    }
    sagemaker = quick_client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(**tuning_job(quick_client, quick_bucket, "early", EPOCHS, config))
    done = ended(quick_client, "early")
    assert done["TrainingJobStatusCounters"]["Completed"] == 1
    assert done["TrainingJobStatusCounters"]["Stopped"] == 1
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"start": "1"}

    endless = {**config, "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "start", "Values": ["5"]}]}}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_job(quick_client, quick_bucket, "halted", EPOCHS, endless))
    until(lambda: sagemaker.list_training_jobs(NameContains="halted")["TrainingJobSummaries"])
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="halted")
    stopped = ended(quick_client, "halted")
    assert stopped["HyperParameterTuningJobStatus"] == "Stopped"
    assert stopped["TrainingJobStatusCounters"]["Stopped"] == 1
    with pytest.raises(ClientError, match="tuning job is in status Stopped"):
        sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="halted")


FLEXIBLE = [
    {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    {"InstanceConfigs": [{"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}] * 2},
]


@pytest.mark.parametrize("flexible", FLEXIBLE, ids=["one machine", "in order of preference"])
def test_instances_may_be_set_for_the_tuning_job_as_the_older_sdk_does(
    quick_client: Clients, quick_bucket: str, flexible: dict[str, Any]
) -> None:
    config = {
        "Strategy": "Grid",
        "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"']}]},
    }
    name = f"flexible-{len(flexible)}"
    request = tuning_job(quick_client, quick_bucket, name, SCRIPT, config)
    del request["TrainingJobDefinition"]["ResourceConfig"]
    request["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = {**flexible, "VolumeKmsKeyId": "a-key"}
    sagemaker = quick_client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(**request)
    done = ended(quick_client, name)
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    child = sagemaker.describe_training_job(TrainingJobName=done["BestTrainingJob"]["TrainingJobName"])
    assert child["ResourceConfig"] == done["TrainingJobDefinition"]["ResourceConfig"]
    assert child["ResourceConfig"] == {**FLEXIBLE[0], "VolumeKmsKeyId": "a-key"}


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({}, "needs either a ResourceConfig or a HyperParameterTuningResourceConfig"),
        ({"HyperParameterTuningResourceConfig": {}}, "needs an InstanceType and an InstanceCount, or InstanceConfigs"),
        (
            {"HyperParameterTuningResourceConfig": FLEXIBLE[0], "ResourceConfig": FLEXIBLE[0]},
            "needs either a ResourceConfig or a HyperParameterTuningResourceConfig",
        ),
        ({"HyperParameterTuningResourceConfig": FLEXIBLE[0] | FLEXIBLE[1]}, "must be left out"),
        ({"HyperParameterTuningResourceConfig": FLEXIBLE[0] | {"InstanceCount": 2}}, "More than one instance"),
        (
            {
                "ResourceConfig": {
                    "InstanceGroups": [
                        {"InstanceGroupName": "a", "InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
                    ],
                    "VolumeSizeInGB": 30,
                }
            },
            "InstanceGroups",
        ),
    ],
)
def test_contradicting_instances_are_refused(
    quick_client: Clients, quick_bucket: str, resources: dict[str, Any], message: str
) -> None:
    config = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 1},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"']}]},
    }
    request = tuning_job(quick_client, quick_bucket, "contradicting", SCRIPT, config)
    del request["TrainingJobDefinition"]["ResourceConfig"]
    request["TrainingJobDefinition"] |= resources
    with pytest.raises(ClientError, match=message):
        quick_client("sagemaker").create_hyper_parameter_tuning_job(**request)


def test_the_error_of_a_job_without_instances_or_image_names_them(quick_client: Clients, quick_bucket: str) -> None:
    for missing in ("ResourceConfig", "AlgorithmSpecification"):
        request = script_job(quick_client, quick_bucket, "no-machine", SCRIPT)
        del request[missing]
        with pytest.raises(ClientError, match=missing):
            quick_client("sagemaker").create_training_job(**request)
