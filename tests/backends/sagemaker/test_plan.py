"""Plans: resources, maximum cost and quotas, and when they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, TrainingConfig
from breedclf.backends.sagemaker.cost.estimate import estimate, require_affordable
from breedclf.backends.sagemaker.cost.rates import Rates
from breedclf.errors import ConfigError
from breedclf.jobs.plan import ApiCall, Plan
from tests.backends.sagemaker.tuning.test_request import made, training

RATES = Rates(
    sources={"test": {"date": "2026-01-31", "text": "made up"}},
    regions={
        "us-east-1": {
            "training": {"ml.m5.xlarge": {"usd": 0.25, "source": "test"}},
            "hosting": {"ml.m5.xlarge": {"usd": 0.5, "source": "test"}},
            "serverless_second": {"3072": {"usd": 0.0001, "source": "test"}},
            "storage_gb_month": {"usd": 0.73, "source": "test"},
        }
    },
)
VARIANT = {"VariantName": "all", "ModelName": "dogs", "InitialInstanceCount": 2, "InstanceType": "ml.m5.xlarge"}
SERVERLESS = {
    "VariantName": "all",
    "ModelName": "dogs",
    "ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5},
}


def planned(operation: str, request: dict[str, Any], *, region: str = "us-east-1", **more: Any) -> Plan:
    return estimate([ApiCall(operation, request)], more.pop("rates", RATES), region=region, **more)


def job(machine: str = "ml.m5.xlarge", count: int = 1, hours: float = 2, **more: Any) -> dict[str, Any]:
    resources = {"InstanceType": machine, "InstanceCount": count, "VolumeSizeInGB": 100}
    stopping = {"MaxRuntimeInSeconds": round(hours * 3600)}
    if more.get("EnableManagedSpotTraining"):
        stopping["MaxWaitTimeInSeconds"] = 2 * stopping["MaxRuntimeInSeconds"]
    return training({"epochs": "2"}, ResourceConfig=resources, StoppingCondition=stopping, **more)


def config_of(variant: dict[str, Any]) -> dict[str, Any]:
    return {"EndpointConfigName": "dogs", "ProductionVariants": [variant]}


def test_a_training_job_costs_its_longest_time_on_all_machines_and_their_disks() -> None:
    plan = planned("CreateTrainingJob", job(count=3))
    machines, disks = plan.items
    assert machines.cost == pytest.approx(3 * 2 * 0.25)
    assert disks.cost == pytest.approx(3 * 100 * 2 / 730 * 0.73)
    assert plan.cost == pytest.approx(1.5 + 0.6)
    assert [(quota.name, quota.needed) for quota in plan.quotas] == [
        ("ml.m5.xlarge for training job usage", 3),
        ("Longest run time for a training job", 7_200),
    ]
    assert "as of 2026-01-31" in str(plan) and "costs at most $2.10" in str(plan)


def test_spot_counts_in_full_and_needs_another_quota() -> None:
    plan = planned("CreateTrainingJob", job(EnableManagedSpotTraining=True))
    assert plan.items[0].cost == pytest.approx(0.5)
    assert plan.quotas[0].name == "ml.m5.xlarge for spot training job usage"
    assert any("fewer seconds" in hint for hint in plan.hints)


def test_a_search_costs_all_its_jobs_or_what_its_longest_time_lets_run() -> None:
    whole = planned("CreateHyperParameterTuningJob", made(max_jobs=8, max_parallel_jobs=4))
    assert whole.items[0].amount == pytest.approx(8)
    assert whole.quotas[0].needed == 4
    assert whole.creates == ("tuning job dogs, 8 training jobs, 4 in parallel",)
    from breedclf.tuning.stopping import Completion

    short = planned(
        "CreateHyperParameterTuningJob",
        made(max_jobs=8, max_parallel_jobs=4, completion=Completion(max_seconds=1_800)),
    )
    assert short.items[0].amount == pytest.approx(4 * 0.5)
    many = planned("CreateHyperParameterTuningJob", made(max_jobs=20, max_parallel_jobs=20))
    assert any("default limit" in hint for hint in many.hints)


@pytest.mark.parametrize(
    ("settings", "space", "expected"),
    [
        ({}, {"epochs": Categorical(2, 3)}, "2 times; once with feature_store=s3://BUCKET/PREFIX"),
        (
            {"feature_store": "s3://dogs/features"},
            {"epochs": Categorical(2, 3)},
            "once instead of 2 times: jobs share s3://dogs/features",
        ),
        ({"feature_store": "s3://dogs/features", "freeze": "layer4"}, {"epochs": Categorical(2, 3)}, None),
        ({"feature_cache": False}, {"epochs": Categorical(2, 3)}, None),
        ({"feature_store": "s3://dogs/features"}, {"views": Categorical(1, 4)}, None),
        (
            {},
            {"architecture": Categorical("resnet18", "convnext_tiny"), "epochs": Categorical(2, 3)},
            "4 times; once per network (2 times) with feature_store=s3://BUCKET/PREFIX",
        ),
        ({}, {"architecture": Categorical("resnet18", "convnext_tiny")}, None),
    ],
    ids=["no store", "store", "layer4", "no cache", "other features", "networks", "networks alone"],
)
def test_a_search_shows_how_often_images_pass_through_the_backbone(
    settings: dict[str, Any], space: dict[str, Categorical], expected: str | None
) -> None:
    config = TrainingConfig(data="dogs", weights="none", **settings)
    request = made(config=config, space=space, strategy="grid", max_jobs=None)
    hints = [hint for hint in planned("CreateHyperParameterTuningJob", request).hints if "backbone" in hint]
    assert hints == ([] if expected is None else [f"each image passes through the backbone {expected}"])


def test_an_endpoint_costs_until_it_ends_and_without_an_end_nobody_knows() -> None:
    plan = planned("CreateEndpointConfig", config_of(VARIANT), seconds=1_800, ended_by_aws=True)
    assert plan.cost == pytest.approx(2 * 0.5 * 0.5)
    assert plan.quotas[0].name == "ml.m5.xlarge for endpoint usage"
    endless = planned("CreateEndpointConfig", config_of(VARIANT))
    assert endless.cost is None
    assert "runs until you delete it ($0.5 per hour)" in str(endless)
    with pytest.raises(ConfigError, match="unknown, but max_cost=1000 is set:\n.*runs until you delete it"):
        require_affordable(endless, 1_000)


def test_a_serverless_endpoint_costs_at_most_all_its_answers_at_once() -> None:
    plan = planned("CreateEndpointConfig", config_of(SERVERLESS), seconds=3_600)
    assert plan.cost == pytest.approx(5 * 3_600 * 0.0001)
    assert plan.quotas[0].name == "Maximum total concurrency that can be allocated across all serverless endpoints"


def test_the_cost_is_unbounded_unless_aws_deletes_the_endpoint() -> None:
    tagged = planned("CreateEndpointConfig", config_of(VARIANT), seconds=3_600)
    assert tagged.cost is None
    assert "AWS doesn't delete it when it expires; $1.00 if you do" in str(tagged)
    with pytest.raises(
        ConfigError, match=r"let AWS delete the endpoint \(endpoint_end_role=ARN .*serverless_memory_mb"
    ):
        require_affordable(tagged, 5)
    assert planned("CreateEndpointConfig", config_of(VARIANT), seconds=3_600, ended_by_aws=True).cost == 1.0


def test_an_update_costs_old_and_new_machines_until_it_completes() -> None:
    request = {"EndpointName": "dogs", "EndpointConfigName": "dogs-2"}
    before = {**config_of(VARIANT), "EndpointConfigName": "dogs-1"}
    calls = [ApiCall("CreateEndpointConfig", config_of(VARIANT)), ApiCall("UpdateEndpoint", request)]
    plan = estimate(calls, RATES, region="us-east-1", seconds=7_200, ended_by_aws=True, replaced=before)
    assert plan.cost == pytest.approx(2 * 2 * 0.5 + 2 * 1 * 0.5)  # two hours of the new machines, one of the old ones
    assert "2 x ml.m5.xlarge of dogs-1, until the update completes" in str(plan)
    serverless = estimate(
        calls, RATES, region="us-east-1", seconds=7_200, ended_by_aws=True, replaced=config_of(SERVERLESS)
    )
    assert serverless.cost == pytest.approx(2.0)


def test_the_json_in_the_error_is_a_valid_rate_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        require_affordable(planned("CreateTrainingJob", job("ml.p5.48xlarge")), 5)
    shown = str(caught.value).split("where FILE contains ")[1].split(", or remove max_cost")[0]
    file = tmp_path / "rates.json"
    file.write_text(shown.replace('"PRICE"', "113.0").replace("YYYY-MM-DD", "2026-11-29"))
    rates = Rates.load(file)
    assert rates.instance_hour("us-east-1", "training", "ml.p5.48xlarge").usd == 113.0
    assert rates.instance_hour("us-east-1", "training", "ml.m5.xlarge").usd == 0.23, "the others are still known"


def test_a_batch_transform_has_no_longest_time() -> None:
    request = {
        "TransformJobName": "dogs",
        "ModelName": "dogs",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}},
        "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    }
    plan = planned("CreateTransformJob", request)
    assert plan.cost is None and "no maximum run time" in str(plan)
    assert plan.quotas[0].name == "ml.m5.xlarge for transform job usage"


@pytest.mark.parametrize(
    ("machine", "region"), [("ml.p5.48xlarge", "us-east-1"), ("ml.m5.xlarge", "eu-west-1"), ("ml.m5.xlarge", "mars")]
)
def test_missing_prices_are_unknown(machine: str, region: str) -> None:
    plan = planned("CreateTrainingJob", job(machine), region=region)
    assert plan.cost is None
    assert f"no price for {machine} (training) in {region}" in str(plan)
    require_affordable(plan, None)
    with pytest.raises(ConfigError, match=r"unknown, but max_cost=5 is set:(.|\n)*rates=FILE"):
        require_affordable(plan, 5)


def test_max_cost_refuses_above_with_the_numbers() -> None:
    plan = planned("CreateTrainingJob", job(count=3))
    require_affordable(plan, 2.11)
    with pytest.raises(
        ConfigError, match=r"up to \$2.10, more than max_cost=\$2.00:\n.*3 x ml.m5.xlarge, at most 2 h each"
    ):
        require_affordable(plan, 2)


def test_costs_of_several_calls_add_up() -> None:
    calls = [
        ApiCall("CreateModel", {"ModelName": "dogs", "ExecutionRoleArn": "arn:aws:iam::111122223333:role/breedclf"}),
        ApiCall("CreateEndpointConfig", config_of(VARIANT)),
        ApiCall("CreateEndpoint", {"EndpointName": "dogs", "EndpointConfigName": "dogs"}),
    ]
    plan = estimate(calls, RATES, region="us-east-1", seconds=3_600, ended_by_aws=True)
    assert plan.creates == ("model dogs", "endpoint configuration dogs", "endpoint dogs")
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["cost"] == pytest.approx(1.0)
    assert [call["operation"] for call in json.loads(plan.requests())] == [call.operation for call in calls]


def test_unsupported_and_invalid_calls_are_refused() -> None:
    with pytest.raises(ConfigError, match="can't plan CreateNotebookInstance"):
        planned("CreateNotebookInstance", {})
    with pytest.raises(ConfigError, match="Unknown member 'Naem'"):
        planned("CreateModel", {"ModelName": "dogs", "Naem": "dogs"})


def test_the_shipped_rate_table_has_a_source_and_date_for_each_price() -> None:
    rates = Rates.load()
    found = rates.instance_hour("us-east-1", "training", "ml.m5.xlarge")
    assert found is not None and found.usd == 0.23
    assert rates.date_of(found) == "2026-11-25"
    assert all(source.text and source.date for source in rates.sources.values())


def test_a_custom_rate_table(tmp_path: Path) -> None:
    file = tmp_path / "rates.yaml"
    file.write_text(
        "sources: {mine: {date: '2026-11-01', text: our contract}}\n"
        "regions: {eu-west-1: {training: {ml.m5.xlarge: {usd: 0.2, source: mine}}, "
        "storage_gb_month: {usd: 0.1, source: mine}}}\n"
    )
    plan = planned("CreateTrainingJob", job(), region="eu-west-1", rates=Rates.load(file))
    assert plan.items[0].cost == pytest.approx(0.4)
    file.write_text("sources: {}\nregions: {eu-west-1: {training: {ml.m5.xlarge: {usd: 0.2, source: mine}}}}\n")
    with pytest.raises(ConfigError, match="refer to 'mine', which is missing in sources"):
        Rates.load(file)
