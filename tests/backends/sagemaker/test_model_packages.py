"""Versions of a store in SageMaker's model registry, at the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.sagemaker.account.inventory import Inventory
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.model_packages.request import ModelToRegister, group_for, quality_document
from breedclf.cli import main
from breedclf.errors import ArtifactError, BreedclfError, ConfigError
from breedclf.inference.classifier import Classifier
from breedclf.model_store.store import ModelStore
from tests.backends.conftest import Clients
from tests.backends.emulator.test_serving import OWN_IMAGE, in_service
from tests.backends.sagemaker.contexts import ROLE, backend_at
from tests.backends.sagemaker.job_requests import variant
from tests.backends.sagemaker.test_faults import fault
from tests.serving.conftest import draw, encode, write_tiny_model

EVALUATION = {"accuracy": 0.75, "count": 48, "labels": ["a", "b"], "confusion": [[30, 6], [6, 6]]}


@pytest.fixture
def backend(quick: Emulator, quick_bucket: str, tmp_path: Path) -> SageMakerBackend:
    return backend_at(quick, quick_bucket, tmp_path / "home", serving_image=OWN_IMAGE)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("models")
    return [write_tiny_model(root / str(seed), seed=seed, light=True) for seed in (1, 2)]


@pytest.fixture
def store(tmp_path: Path, models: list[Path], quick_bucket: str) -> ModelStore:
    """A store with two versions of a model that has the bucket's name."""
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "metrics.json").write_text(json.dumps(EVALUATION), encoding="utf-8")
    store = ModelStore(tmp_path / "store")
    store.add(models[0], name=quick_bucket, notes="the first (why?)", tuning_job="grid", evaluation=str(evaluation))
    store.add(models[1], name=quick_bucket)
    return store


def approvals(client: Clients, group: str) -> list[str]:
    """The approval of each package, oldest first."""
    listed = client("sagemaker").list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    return [each["ModelApprovalStatus"] for each in listed]


def read(client: Clients, uri: str) -> Any:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def test_a_version_is_registered_once_with_its_lineage_and_metrics(
    store: ModelStore, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str
) -> None:
    package = store.to_sagemaker(quick_bucket, 1, backend=backend)
    assert (package.group, package.version, package.approval, package.created) == (
        quick_bucket,
        1,
        "PendingManualApproval",
        True,
    )
    again = store.to_sagemaker(quick_bucket, 1, backend=backend)
    assert (again.arn, again.created) == (package.arn, False)
    found = quick_client("sagemaker").describe_model_package(ModelPackageName=package.arn)
    [container] = found["InferenceSpecification"]["Containers"]
    assert container["Image"] == OWN_IMAGE and container["Environment"] == {"BREEDCLF_NO_TOKEN": "1"}
    assert container["ModelDataUrl"].startswith(backend.uri("models"))
    properties, version = found["CustomerMetadataProperties"], store.record(quick_bucket).version(1)
    assert (properties["sha256"], properties["version"]) == (version.digest, "1")
    assert properties["tuning_job"] == "grid"
    assert properties["notes"] == "the first why"
    assert "trial" not in properties, "what isn't known is left out"
    assert read(quick_client, properties["record"])["digest"] == version.digest
    quality = read(quick_client, found["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    shown = quality["multiclass_classification_metrics"]
    assert shown["accuracy"] == {"value": 0.75, "standard_deviation": 0.0625}
    assert shown["confusion_matrix"]["a"] == {"a": 30, "b": 6}
    group = quick_client("sagemaker").describe_model_package_group(ModelPackageGroupName=quick_bucket)
    tags = backend.context.resource_tags(group["ModelPackageGroupArn"])
    assert tags["breedclf-purpose"] == "registry"


def test_the_live_version_is_approved_and_a_rollback_moves_the_approval(
    store: ModelStore, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str
) -> None:
    name = quick_bucket
    store.promote(name, 1)
    assert store.to_sagemaker(name, backend=backend).approval == "Approved"
    store.promote(name, 2)
    store.to_sagemaker(name, 2, backend=backend)
    assert approvals(quick_client, name) == ["PendingManualApproval", "Approved"]
    store.rollback(name)
    assert store.to_sagemaker(name, backend=backend).version == 1
    assert approvals(quick_client, name) == ["Approved", "PendingManualApproval"]
    store.promote(name, 2)
    store.to_sagemaker(name, 1, backend=backend)
    assert approvals(quick_client, name) == ["PendingManualApproval"] * 2


def test_what_people_decided_stays(
    store: ModelStore, backend: SageMakerBackend, quick_client: Clients, quick_bucket: str, caplog
) -> None:
    sagemaker = quick_client("sagemaker")
    first, second = (store.to_sagemaker(quick_bucket, number, backend=backend).arn for number in (1, 2))
    sagemaker.update_model_package(ModelPackageArn=first, ModelApprovalStatus="Approved")
    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Rejected")
    store.promote(quick_bucket, 2)
    assert store.to_sagemaker(quick_bucket, backend=backend).approval == "Rejected"
    assert "it stays rejected" in caplog.text
    assert approvals(quick_client, quick_bucket) == ["Approved", "Rejected"]
    assert store.to_sagemaker(quick_bucket, 1, backend=backend).approval == "Approved"


@pytest.mark.slow
def test_an_approved_package_is_deployed_and_answers_as_the_model_does(
    store: ModelStore, backend: SageMakerBackend, models: list[Path], quick_client: Clients, quick_bucket: str
) -> None:
    store.promote(quick_bucket, 1)
    arn = store.to_sagemaker(quick_bucket, backend=backend).arn
    sagemaker, name = quick_client("sagemaker"), quick_bucket
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": arn})
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variant(name))
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(quick_client, name)
    image = encode(draw(3))
    runtime = quick_client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=name, Body=image, ContentType="image/jpeg")
    predictions = json.loads(answer["Body"].read())["predictions"]
    expected = Classifier(models[0]).predict(image).ranked
    assert predictions[0]["label"] == expected[0].label
    assert predictions[0]["probability"] == pytest.approx(expected[0].probability, abs=1e-4)
    sagemaker.delete_endpoint(EndpointName=name)


def test_the_registry_is_listed_and_is_deleted_only_on_request(
    store: ModelStore, backend: SageMakerBackend, quick_bucket: str, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("BREEDCLF_SAGEMAKER_BUCKET", quick_bucket)
    store.to_sagemaker(quick_bucket, 1, backend=backend)
    inventory = Inventory(backend.context, now=lambda: 0.0)
    [thing] = [each for each in inventory.things() if each.name == quick_bucket]
    assert (thing.kind, thing.status, thing.cost, thing.runs) == ("model-package-group", "Completed", 0.0, False)
    assert [each for each in inventory.leftovers() if "/models/" in each.uri] == [], "the package uses the archive"
    title = f"model-package-group {quick_bucket}"
    assert main(["sagemaker", "clean", "--dry-run"]) == 0
    assert title not in capsys.readouterr().out
    assert main(["sagemaker", "clean", "--registry", "--yes"]) == 0
    assert f"deleted {title}" in capsys.readouterr().out
    assert not [each for each in inventory.things() if each.name == quick_bucket]
    assert len([each for each in inventory.leftovers() if "/models/" in each.uri]) == 1


@pytest.mark.usefixtures("quick")
def test_the_command_line_registers_a_version(store: ModelStore, quick_bucket: str, monkeypatch, capsys) -> None:
    for name, value in (("ROLE", ROLE), ("BUCKET", quick_bucket), ("SERVING_IMAGE", OWN_IMAGE), ("IMAGE", "")):
        monkeypatch.setenv(f"BREEDCLF_SAGEMAKER_{name}", value)
    words = [
        "models",
        "push-sagemaker",
        quick_bucket,
        "2",
        "--store",
        str(store.path),
        "--group",
        f"{quick_bucket}-own",
    ]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"registered as version 1 of group {quick_bucket}-own: PendingManualApproval"
    assert lines[1].endswith(f":model-package/{quick_bucket}-own/1")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["created"] is False
    assert main(["models", "push-sagemaker", quick_bucket, "--store", str(store.path)]) == 2
    assert "has no version 'live'" in capsys.readouterr().err


def test_bad_input_is_refused_before_anything_is_uploaded(
    store: ModelStore, backend: SageMakerBackend, quick: Emulator, quick_client: Clients, quick_bucket: str, tmp_path
) -> None:
    local = LocalBackend(tmp_path / "local", cores=1)
    cases: list[tuple[dict[str, Any], type[BreedclfError], str]] = [
        ({"version": 9}, ConfigError, "has no version 9; there are: 1, 2"),
        ({"version": "live"}, ConfigError, "has no version 'live'"),
        ({"version": 1, "group": "a/b"}, ConfigError, "group 'a/b': SageMaker allows at most 63 letters"),
        ({"version": 1, "group": "x" * 64}, ConfigError, "pass another group"),
        ({"version": 1, "backend": local}, ConfigError, "has no model registry: pass a SageMakerBackend"),
    ]
    for changes, error, message in cases:
        with pytest.raises(error, match=message):
            store.to_sagemaker(quick_bucket, **{"backend": backend, **changes})
    other = backend_at(quick, f"{quick_bucket}-none", tmp_path / "home", serving_image=OWN_IMAGE)
    with pytest.raises(ConfigError, match="does not exist; create it"):
        store.to_sagemaker(quick_bucket, 1, backend=other)
    (store.model_directory(quick_bucket, 1) / "breedclf.json").unlink()
    with pytest.raises(ArtifactError):
        store.to_sagemaker(quick_bucket, 1, backend=backend)
    assert quick_client("s3").list_objects_v2(Bucket=quick_bucket).get("KeyCount") == 0
    assert (
        quick_client("sagemaker").list_model_package_groups(NameContains=quick_bucket)["ModelPackageGroupSummaryList"]
        == []
    )


def test_a_refused_call_leaves_a_state_that_the_next_push_completes(
    store: ModelStore, backend: SageMakerBackend, quick: Emulator, quick_client: Clients, quick_bucket: str
) -> None:
    fault(quick, "CreateModelPackage", "access-denied")
    with pytest.raises(BreedclfError, match="missing permission.*breedclf sagemaker policy"):
        store.to_sagemaker(quick_bucket, 1, backend=backend)
    assert approvals(quick_client, quick_bucket) == []
    quick.plane.faults.clear()
    assert store.to_sagemaker(quick_bucket, 1, backend=backend).version == 1


def test_names_and_metrics_are_translated() -> None:
    assert group_for("Dogs_2.1") == "Dogs-2-1"
    for bad in ("-dogs", "dogs-", "d" * 64, ""):
        with pytest.raises(ConfigError, match="SageMaker allows"):
            group_for(bad)

    def quality(metrics: dict[str, float]) -> Any:
        return quality_document(ModelToRegister("dogs", 1, "0", Path("m"), False, {}, {}, metrics))

    assert quality({}) is None
    assert quality({"valid_accuracy": 0.5})["multiclass_classification_metrics"]["accuracy"]["value"] == 0.5
    assert quality({"valid_loss": 0.5})["multiclass_classification_metrics"] == {}
