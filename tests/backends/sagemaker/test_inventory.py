"""What breedclf made in an account: found by its tag, priced, and cleaned up; others' things are never touched."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.account.cleaning import clean, cleaning
from breedclf.backends.sagemaker.account.inventory import Inventory
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.cli import main
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec
from breedclf.testing.backend_cases import script_source
from tests.backends.conftest import Clients
from tests.backends.sagemaker.contexts import IMAGE, backend_at
from tests.backends.sagemaker.fake_service import OWNER, FakeSageMaker
from tests.backends.sagemaker.tuning.test_jobs import ROLE, Fakes, Tunings, backend, search
from tests.fakes import FakeClock

MACHINE = {"VariantName": "all", "ModelName": "dogs", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 2}
COLLEAGUE = "arn:aws:iam::111122223333:user/bob"
RESOURCES = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}


@pytest.fixture
def service(tmp_path: Path) -> FakeSageMaker:
    fake = FakeSageMaker()
    began = datetime.fromtimestamp(fake.now - 7_200, UTC)
    fake.make("EndpointConfig", "dogs", age_days=2, ProductionVariants=[MACHINE])
    fake.make("Endpoint", "dogs", age_days=2, EndpointStatus="InService", EndpointConfigName="dogs")
    fake.make("Model", "dogs", age_days=2)
    fake.make(
        "TransformJob", "batch", TransformJobStatus="InProgress", TransformResources=RESOURCES, TransformStartTime=began
    )
    fake.make("Model", "birds", owner=COLLEAGUE, age_days=2)
    fake.make("Model", "old", owner=None, age_days=30)
    fake.make("Model", "cats", ours=False, age_days=9)
    fake.make("Endpoint", "cats", ours=False, age_days=9, EndpointStatus="InService", EndpointConfigName="cats")
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
    fake.tags["arn:aws:sagemaker:us-east-1:111122223333:hyper-parameter-tuning-job/dogs"]["breedclf-user"] = OWNER
    return fake


def inventory(service: FakeSageMaker, home: Path) -> Inventory:
    settings = SageMakerSettings(role=ROLE, bucket="pictures")
    place = Tunings(settings, Fakes(service), home=home, clock=FakeClock(service.now))  # type: ignore[arg-type]
    return Inventory(place, now=lambda: service.now)


def test_everything_of_ours_is_found_with_its_cost_so_far(service, tmp_path) -> None:
    found = {(thing.kind, thing.name): thing for thing in inventory(service, tmp_path).things()}
    assert set(found) == {
        ("endpoint", "dogs"),
        ("endpoint-config", "dogs"),
        ("model", "dogs"),
        ("model", "birds"),
        ("model", "old"),
        ("transform-job", "batch"),
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
    assert {thing.name for thing in found.values() if thing.runs} == {"dogs", "now", "batch"}
    assert found["transform-job", "batch"].why_unknown == "no price of ml.m5.xlarge"
    assert found["model", "dogs"].owner == OWNER and found["model", "birds"].owner == COLLEAGUE
    document = json.loads(json.dumps([thing.to_dict(service.now) for thing in found.values()]))
    assert next(each for each in document if each["kind"] == "endpoint")["age_days"] == 2.0


def test_cleaning_deletes_what_is_ours_in_order_and_stops_jobs_only_if_asked(service, tmp_path) -> None:
    made = inventory(service, tmp_path)
    todo = cleaning(made.things(), now=service.now, owner=OWNER)
    assert [thing.kind for thing in todo.deleted] == ["endpoint", "endpoint-config", "model"]
    assert todo.stopped == ()
    service.calls.clear()
    assert clean(made, todo) == {}
    assert [call for call in service.calls if call.startswith(("Delete", "Stop"))] == [
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]
    assert list(service.things["Model"]) == ["birds", "old", "cats"] and list(service.things["Endpoint"]) == ["cats"]
    again = cleaning(made.things(), now=service.now, owner=OWNER, stop_running=True)
    assert {(thing.kind, thing.name) for thing in again.stopped} == {
        ("tuning-job", "dogs"),
        ("training-job", "now"),
        ("transform-job", "batch"),
    }
    assert clean(made, again) == {}
    assert service.things["TrainingJob"]["now"]["TrainingJobStatus"] == "Stopping"
    assert service.tuning["dogs"]["HyperParameterTuningJobStatus"] == "Stopping"
    assert service.things["TransformJob"]["batch"]["TransformJobStatus"] == "Stopping"


def test_what_others_made_is_left_unless_asked_for(service, tmp_path) -> None:
    things = inventory(service, tmp_path).things()
    mine, nobodys = (cleaning(things, now=service.now, owner=owner) for owner in (OWNER, None))
    assert {thing.name for thing in mine.left} >= {"birds", "old"} and nobodys.is_empty
    everyones = cleaning(things, now=service.now, owner=OWNER, everyones=True)
    assert {thing.name for thing in everyones.deleted} == {"dogs", "birds", "old"}


def test_older_than_leaves_the_young(service, tmp_path) -> None:
    todo = cleaning(
        inventory(service, tmp_path).things(), now=service.now, owner=OWNER, older_than_days=3, stop_running=True
    )
    assert todo.deleted == () and todo.stopped == ()


def test_what_went_away_in_between_is_no_problem_and_a_refusal_keeps_nothing_else(service, tmp_path) -> None:
    made = inventory(service, tmp_path)
    todo = cleaning(made.things(), now=service.now, owner=OWNER)
    service.delete_model(ModelName="dogs")

    def refused(**_request: Any) -> None:
        from tests.backends.sagemaker.fake_service import refusal

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


@pytest.fixture
def account(quick: Emulator, quick_client: Clients, quick_bucket: str, tmp_path: Path, monkeypatch) -> SageMakerBackend:
    """An account with an archive in S3 that a model uses, and others that nothing refers to."""
    for key in ("models/used/model.tar.gz", "models/unused/model.tar.gz", "jobs/transform-gone/pictures/0"):
        quick_client("s3").put_object(Bucket=quick_bucket, Key=f"breedclf/{key}", Body=b"x" * 1_000)
    monkeypatch.setenv("BREEDCLF_SAGEMAKER_BUCKET", quick_bucket)
    monkeypatch.setenv("BREEDCLF_SAGEMAKER_ROLE", ROLE)
    backend = backend_at(quick, quick_bucket, tmp_path)
    quick_client("sagemaker").create_model(
        ModelName=f"m-{quick_bucket}",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": backend.uri("models", "used", "model.tar.gz")},
        Tags=backend.tags("endpoint", owned=True),
    )
    return backend


def names(bucket: str, client: Clients) -> set[str]:
    found = client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
    return {each["Key"].removeprefix("breedclf/").rpartition("/")[0] for each in found}


def test_cleaning_asks_first_and_touches_s3_only_if_told(
    account: SageMakerBackend, quick_bucket: str, quick_client: Clients, capsys
) -> None:
    model = f"model m-{quick_bucket}"
    assert main(["sagemaker", "clean"]) == 2, "nobody is there to ask"
    assert "see what would be with --dry-run, and confirm it with --yes" in capsys.readouterr().err
    assert main(["sagemaker", "clean", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"would delete {model}" in shown and "2 folders in S3 (0.0 MB) that nothing refers to stay" in shown
    assert quick_client("sagemaker").describe_model(ModelName=f"m-{quick_bucket}")
    assert main(["sagemaker", "clean", "--yes", "--storage", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert model in document["deleted"]
    assert sorted(document["storage"]) == [account.uri("jobs", "transform-gone"), account.uri("models", "unused")]
    assert names(quick_bucket, quick_client) == {"models/used"}
    assert main(["sagemaker", "clean", "--yes"]) == 0
    assert "nothing to clean" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 2), ("", 2)])
def test_a_person_is_shown_what_would_be_deleted_and_asked(
    account: SageMakerBackend, quick_bucket: str, quick_client: Clients, capsys, monkeypatch, answer: str, code: int
) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["sagemaker", "clean"]) == code
    told = capsys.readouterr().err
    assert f"would delete model m-{quick_bucket}" in told and "Delete and stop these? [y/N]" in told
    listed = quick_client("sagemaker").list_models(NameContains=quick_bucket)["Models"]
    assert bool(listed) is (code != 0)
    account.clients("sagemaker").delete_model(ModelName=f"m-{quick_bucket}") if listed else None


def test_a_bucket_is_looked_at_before_anything_is_uploaded(
    quick: Emulator, quick_client: Clients, quick_bucket: str, tmp_path: Path
) -> None:
    abroad = f"{quick_bucket}-eu"
    place = {"LocationConstraint": "eu-west-1"}
    quick_client("s3").create_bucket(Bucket=abroad, CreateBucketConfiguration=place)
    spec = JobSpec("somewhere", source=script_source(tmp_path / "source", "pass"))
    for bucket, message in (
        (abroad, f"bucket {abroad} is in eu-west-1, but jobs and endpoints run in us-east-1"),
        (f"{quick_bucket}-none", f"bucket {quick_bucket}-none is not there; make it"),
    ):
        quick.plane.faults.clear()
        with pytest.raises(ConfigError, match=message):
            backend_at(quick, bucket, tmp_path).submit(spec)
        assert not [call for call in quick.plane.faults.calls() if call["operation"].startswith("Put")]
