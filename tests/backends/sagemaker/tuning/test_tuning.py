"""Searches that SageMaker runs by itself, end to end over the emulator: by the command line, the API and the SDK."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from breedclf import Categorical, Classifier, TrainingConfig, TuningJob
from breedclf.backends.emulator.descriptions import described_definition
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.cli import main
from breedclf.errors import ConfigError
from tests.backends.sagemaker.contexts import IMAGE, ROLE, backend_at
from tests.integration.conftest import RESNET, write_patterns

pytestmark = pytest.mark.slow  # each test needs the native search of the fixture

SPACE = {"epochs": Categorical(2, 3), "device": Categorical("cpu", "mps")}  # no container has the second one


@dataclass
class Searched:
    """A search that was run by `breedclf tune --backend sagemaker`, and what that printed."""

    emulator: Emulator
    bucket: str
    home: Path
    images: Path
    document: dict[str, Any]
    output: Path

    def backend(self, home: Path | None = None) -> SageMakerBackend:
        return backend_at(self.emulator, self.bucket, self.home if home is None else home)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("tune") / "images")


@pytest.fixture(scope="module")
def searched(emulator_session: Emulator, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    root, bucket = tmp_path_factory.mktemp("searched"), f"test-{secrets.token_hex(6)}"
    settings = {"role": ROLE, "bucket": bucket, "region": "us-east-1", "image": IMAGE, "poll_seconds": "0.1"}
    settings["delay_seconds"] = "0"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator_session.environment.items():
            patch.setenv(name, value)
        for name, value in settings.items():
            patch.setenv(f"BREEDCLF_SAGEMAKER_{name.upper()}", value)
        patch.setenv("BREEDCLF_HOME", str(root / "home"))
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches the keys of another emulator
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(
                [
                    *("tune", str(images), "--epochs", "2,3", "--device", "cpu,mps", "--strategy", "grid"),
                    *("--architecture", "resnet18", "--weights", "none", "--chunk-size", "8", "--parallel", "2"),
                    *(
                        "--backend",
                        "sagemaker",
                        "--name",
                        "patterns",
                        "--output",
                        str(root / "out"),
                        "--json",
                        "--quiet",
                    ),
                ]
            )
        assert code == 0, printed.getvalue()
        yield Searched(emulator_session, bucket, root / "home", images, json.loads(printed.getvalue()), root / "out")


def test_the_command_line_runs_a_native_search_and_keeps_the_best_model(searched: Searched) -> None:
    document = searched.document
    assert document["status"] == "Completed"
    trials = {tuple(trial["hyperparameters"].values()): trial for trial in document["trials"]}
    assert set(trials) == {(2, "cpu"), (3, "cpu"), (2, "mps"), (3, "mps")}
    assert {key: trial["status"] for key, trial in trials.items()} == {
        (2, "cpu"): "Completed",
        (3, "cpu"): "Completed",
        (2, "mps"): "Failed",
        (3, "mps"): "Failed",
    }
    assert "mps" in trials[2, "mps"]["failure_reason"]
    best = document["best"]
    assert best["objective"] == min(trials[epochs, "cpu"]["objective"] for epochs in (2, 3))
    assert Classifier(searched.output / "model").predict(next(searched.images.rglob("*.png"))).top(1)
    described = boto3.client("sagemaker", region_name="us-east-1").describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="patterns"
    )
    assert described["BestTrainingJob"]["TrainingJobName"] == best["name"]
    assert described["HyperParameterTuningJobConfig"]["Strategy"] == "Grid"


def test_the_study_holds_metrics_epochs_rows_and_a_report(searched: Searched, tmp_path: Path) -> None:
    tuning = TuningJob.attach("patterns", backend=searched.backend()).wait()
    best = tuning.best
    assert 0 <= best.metrics["valid_accuracy"] <= 1
    assert best.objective == pytest.approx(min(next(t for t in tuning.trials if t.name == best.name).history))
    assert best.config.epochs == best.hyperparameters["epochs"]
    assert best.job is not None and best.job.status == "Completed"
    assert (best.artifact / "model.safetensors").is_file()
    assert [row["TrainingJobStatus"] for row in tuning.rows()].count("Failed") == 2
    assert best.name in tuning.report(tmp_path / "tuning.html").read_text()


def test_another_machine_finds_the_search_and_its_best_by_name(searched: Searched, tmp_path: Path) -> None:
    tuning = TuningJob.attach("patterns", backend=searched.backend(tmp_path)).wait()
    assert tuning.best.name == searched.document["best"]["name"]
    assert tuning.best.hyperparameters == searched.document["best"]["hyperparameters"]
    assert str(tuning.best.config.data).startswith(f"s3:/{searched.bucket}/breedclf/data/")


def test_the_name_is_taken_and_nothing_else_starts(searched: Searched, tmp_path: Path) -> None:
    config = TrainingConfig(data=searched.images, **RESNET)
    other = TuningJob(
        config, {"epochs": Categorical(4, 5)}, strategy="grid", name="patterns", backend=searched.backend(tmp_path)
    )
    with pytest.raises(ConfigError, match="tuning job name 'patterns' is taken"):
        other.run()


def test_the_sdk_s_own_tuner_starts_the_same_search(searched: Searched, tmp_path: Path) -> None:
    backend = searched.backend(tmp_path)
    name = f"sdk-{secrets.token_hex(3)}"
    config = TrainingConfig(data=searched.images, **RESNET)
    tuning = TuningJob(
        config,
        {"learning_rate": Categorical(0.005, 0.01), "epochs": Categorical(2, 3)},
        strategy="random",
        max_jobs=3,
        max_parallel_jobs=1,
        seed=7,
        target=0.0001,
        not_improving=3,
        max_seconds=3_600,
        max_seconds_per_job=600,
        name=name,
        backend=backend,
    )
    tuner = tuning.to_sagemaker()
    assert type(tuner).__module__ == "sagemaker.train.tuner"
    tuner.tune(job_name=name, wait=False)
    client = boto3.client("sagemaker", region_name="us-east-1")
    theirs = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    [call] = backend.plan(_search_of(tuning)).calls
    ours = call.parameters
    assert _plain(theirs["HyperParameterTuningJobConfig"]) == _plain(ours["HyperParameterTuningJobConfig"])
    assert _plain(theirs["TrainingJobDefinition"]) == _plain(described_definition(ours["TrainingJobDefinition"]))


def test_a_packed_search_is_one_training_job(searched: Searched, tmp_path: Path) -> None:
    backend = searched.backend(tmp_path)
    config = TrainingConfig(data=searched.images, **RESNET)
    tuning = TuningJob(
        config,
        {"epochs": Categorical(2, 3)},
        strategy="grid",
        packed=True,
        name=f"one-{secrets.token_hex(3)}",
        backend=backend,
    )
    tuning.run().wait()
    assert [trial.status for trial in tuning.trials] == ["Completed", "Completed"]
    assert (tuning.best.artifact / "breedclf.json").is_file()
    client = boto3.client("sagemaker", region_name="us-east-1")
    assert tuning.best.job is not None
    assert client.describe_training_job(TrainingJobName=tuning.best.job.name)["TrainingJobStatus"] == "Completed"


def test_the_plan_of_a_search_and_its_exact_request(searched: Searched, tmp_path: Path, capsys: Any) -> None:
    config = TrainingConfig(data=searched.images, **RESNET)
    tuning = TuningJob(config, SPACE, strategy="grid", name="planned", backend=searched.backend(tmp_path))
    plan = tuning.plan(dry_run=True)
    [call] = json.loads(capsys.readouterr().out)
    assert call["operation"] == "CreateHyperParameterTuningJob"
    assert call["parameters"]["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 4
    assert plan.cost is not None and plan.cost == pytest.approx(4 * 24 * 0.23 + 4 * 24 * 30 / 730 * 0.14)
    client = boto3.client("sagemaker", region_name="us-east-1")
    names = [
        job["HyperParameterTuningJobName"]
        for job in client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    ]
    assert "planned" not in names


def test_the_command_line_carries_on_a_search_of_another_machine(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    flags = ["--backend", "sagemaker", "--output", str(tmp_path / "out"), "--json", "--quiet"]
    assert main(["tune", "--resume", "patterns", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["name"] == searched.document["best"]["name"]
    assert main(["tune", "--resume", "nothing", *flags]) == 2
    assert "no tuning job 'nothing', neither here nor in SageMaker" in capsys.readouterr().err


def test_everything_is_found_again_and_cleaned_from_the_command_line(searched: Searched, capsys: Any) -> None:
    assert main(["sagemaker", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {(thing["kind"], thing["name"]): thing for thing in document["things"]}
    assert ("tuning-job", "patterns") in found
    for trial in searched.document["trials"]:
        assert found["training-job", trial["name"]]["cost"] >= 0
    sizes = {folder["uri"].rpartition("/")[2]: folder["size_bytes"] for folder in document["storage"]}
    assert sizes["code"] > 0 and sizes["data"] > 0 and sizes["jobs"] > 0
    assert main(["sagemaker", "clean", "--older-than", "1", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == []


def _search_of(tuning: TuningJob) -> Any:
    from breedclf.api.native_tuning import native_search

    return native_search(tuning._request)


def _plain(values: Any) -> Any:
    """Without what the service adds, what is empty or off, and without the order of lists that are sets."""
    if isinstance(values, dict):
        found = {key: _plain(value) for key, value in values.items() if not str(key).startswith("_tuning_")}
        return {key: value for key, value in found.items() if value not in ({}, [], None, False)}
    if isinstance(values, list):
        return sorted((_plain(value) for value in values), key=repr)
    return values
