"""What breedclf made in an account: found by its tag, priced, and cleaned up; others' things are never touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.sagemaker.inventory import Inventory, clean, cleaning
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.cli import main

from .fake_service import FakeSageMaker
from .test_tuning_jobs import ROLE, Clock, Fakes, Tunings, backend, search

MACHINE = {"VariantName": "all", "ModelName": "dogs", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 2}
RESOURCES = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}


@pytest.fixture
def service(tmp_path: Path) -> FakeSageMaker:
    fake = FakeSageMaker()
    fake.make("EndpointConfig", "dogs", age_days=2, ProductionVariants=[MACHINE])
    fake.make("Endpoint", "dogs", age_days=2, EndpointStatus="InService", EndpointConfigName="dogs")
    fake.make("Model", "dogs", age_days=2)
    fake.make("Model", "cats", ours=False, age_days=9)
    fake.make("Endpoint", "cats", ours=False, age_days=9, EndpointStatus="InService", EndpointConfigName="cats")
    began = datetime.fromtimestamp(fake.now - 7_200, UTC)
    fake.make("TrainingJob", "now", TrainingJobStatus="InProgress", ResourceConfig=RESOURCES, TrainingStartTime=began)
    fake.make(
        "TrainingJob",
        "spot",
        age_days=5,
        TrainingJobStatus="Completed",
        ResourceConfig=RESOURCES,
        BillableTimeInSeconds=1_800,
    )
    fake.make(
        "TrainingJob",
        "odd",
        age_days=1,
        TrainingJobStatus="Completed",
        ResourceConfig={**RESOURCES, "InstanceType": "ml.x9.large"},
        BillableTimeInSeconds=60,
    )
    backend(fake, tmp_path).create_tuning(search())
    return fake


def inventory(service: FakeSageMaker, home: Path) -> Inventory:
    settings = SageMakerSettings(role=ROLE, bucket="pictures")
    place = Tunings(settings, Fakes(service), home=home, clock=Clock(service.now))  # type: ignore[arg-type]
    return Inventory(place, now=lambda: service.now)


def test_everything_of_ours_is_found_with_its_cost_so_far(service, tmp_path) -> None:
    found = {(thing.kind, thing.name): thing for thing in inventory(service, tmp_path).things()}
    assert set(found) == {
        ("endpoint", "dogs"),
        ("endpoint-config", "dogs"),
        ("model", "dogs"),
        ("tuning-job", "dogs"),
        ("training-job", "now"),
        ("training-job", "spot"),
        ("training-job", "odd"),
    }
    assert found["endpoint", "dogs"].cost == pytest.approx(2 * 48 * 0.23)
    assert found["training-job", "now"].cost == pytest.approx(2 * 0.23)
    assert found["training-job", "spot"].cost == pytest.approx(0.5 * 0.23)
    assert found["training-job", "odd"].cost is None
    assert found["training-job", "odd"].why_unknown == "no price of ml.x9.large"
    assert {thing.name for thing in found.values() if thing.runs} == {"dogs", "now"}
    document = json.loads(json.dumps([thing.to_dict(service.now) for thing in found.values()]))
    assert document[0]["age_days"] == 2.0


def test_cleaning_deletes_what_is_ours_in_order_and_stops_jobs_only_if_asked(service, tmp_path) -> None:
    made = inventory(service, tmp_path)
    todo = cleaning(made.things(), now=service.now)
    assert [thing.kind for thing in todo.deleted] == ["endpoint", "endpoint-config", "model"]
    assert todo.stopped == ()
    service.calls.clear()
    assert clean(made, todo) == {}
    assert [call for call in service.calls if call.startswith(("Delete", "Stop"))] == [
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]
    assert list(service.things["Model"]) == ["cats"] and list(service.things["Endpoint"]) == ["cats"]
    again = cleaning(made.things(), now=service.now, stop_running=True)
    assert {(thing.kind, thing.name) for thing in again.stopped} == {("tuning-job", "dogs"), ("training-job", "now")}
    assert clean(made, again) == {}
    assert service.things["TrainingJob"]["now"]["TrainingJobStatus"] == "Stopping"
    assert service.tuning["dogs"]["HyperParameterTuningJobStatus"] == "Stopping"


def test_older_than_leaves_the_young(service, tmp_path) -> None:
    todo = cleaning(inventory(service, tmp_path).things(), now=service.now, older_than_days=3, stop_running=True)
    assert todo.deleted == () and todo.stopped == ()


def test_what_went_away_in_between_is_no_problem_and_a_refusal_keeps_nothing_else(service, tmp_path) -> None:
    made = inventory(service, tmp_path)
    todo = cleaning(made.things(), now=service.now)
    service.delete_model(ModelName="dogs")

    def refused(**_request: Any) -> None:
        from .fake_service import refusal

        raise refusal("AccessDeniedException", "not authorized to perform: sagemaker:DeleteEndpoint", "DeleteEndpoint")

    service.delete_endpoint = refused  # type: ignore[method-assign]
    problems = clean(made, todo)
    assert list(problems) == ["endpoint dogs"]
    assert "the permission sagemaker:DeleteEndpoint is missing" in problems["endpoint dogs"]
    assert service.things["EndpointConfig"] == {}


def test_policies_on_the_command_line(capsys, monkeypatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert main(["sagemaker", "policy", "--caller", "--json", "--role-arn", ROLE]) == 0
    policy = json.loads(capsys.readouterr().out)
    assert {"MakeTagged", "PassRole"} <= {each["Sid"] for each in policy["Statement"]}
    assert main(["sagemaker", "policy", "--account", "111122223333"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"trust", "role", "caller"}
    assert main(["sagemaker", "policy", "--role"]) == 2
    assert "give --role-arn or --account" in capsys.readouterr().err
