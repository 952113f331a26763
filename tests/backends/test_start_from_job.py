"""A job that continues a model: the model is a channel of its own, and the result is that of a run in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from breedclf import Trainer, TrainingConfig
from breedclf.api.training_job import training_spec
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.inline import InlineBackend
from breedclf.backends.sagemaker.tuning.request import search_request
from breedclf.errors import ConfigError
from breedclf.jobs import MODEL_CHANNEL, Backend
from breedclf.testing.images import write_image_set
from breedclf.training.fit import FitResult
from tests.backends.conftest import Clients
from tests.backends.sagemaker.contexts import backend_at
from tests.backends.test_training_job import weights_of
from tests.integration.conftest import RESNET


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start-from") / "images"
    return write_image_set(folder, classes=3, train=3, valid=2, test=0, size_px=64)


@pytest.fixture(scope="module")
def old(images: Path) -> FitResult:
    """A model of the first two classes."""
    data = shutil.copytree(images, images.parent / "two")
    for split in data.iterdir():
        shutil.rmtree(max(split.iterdir()))
    return Trainer(TrainingConfig(data=data, output=images.parent / "old", **RESNET)).fit()  # type: ignore[arg-type]


def settings(images: Path, old: FitResult) -> dict[str, Any]:
    return {"data": images, "start_from": old.output, "epochs": 2, "device": "cpu", "chunk_size": 8}


def same_result(config: dict[str, Any], backend: Backend, tmp_path: Path) -> FitResult:
    here = Trainer(TrainingConfig(output=tmp_path / "here", **config)).fit()
    there = Trainer(TrainingConfig(output=tmp_path / "there", **config), backend=backend).fit()
    assert weights_of(there.artifact) == weights_of(here.artifact)
    assert there.before == here.before
    assert there.classifier.card.start_from == here.classifier.card.start_from
    return there


def test_the_model_is_a_channel(images: Path, old: FitResult) -> None:
    spec = training_spec(TrainingConfig(**settings(images, old)), name="job")
    assert spec.channels == {"training": images, MODEL_CHANNEL: old.artifact}
    assert "start_from" not in spec.hyperparameters
    assert (spec.hyperparameters["weights"], spec.hyperparameters["architecture"]) == ("start_from", "resnet18")
    with pytest.raises(ConfigError, match="architecture=resnet50 is set"):
        training_spec(TrainingConfig(**settings(images, old), architecture="resnet50"))


def test_inline(images: Path, old: FitResult, tmp_path: Path) -> None:
    same_result(settings(images, old), InlineBackend(tmp_path / "home"), tmp_path)


def test_on_sagemaker_only_the_model_s_own_files_are_uploaded(
    images: Path, old: FitResult, quick: Emulator, quick_client: Clients, quick_bucket: str, tmp_path: Path
) -> None:
    model = shutil.copytree(old.artifact, tmp_path / "old/model")
    (model / "notes.txt").write_text("not part of the model")
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    same_result({**settings(images, old), "start_from": model}, backend, tmp_path)
    objects = quick_client("s3").list_objects_v2(Bucket=quick_bucket)["Contents"]
    sent = sorted(each["Key"].rpartition("/")[2] for each in objects if "/weights/model-" in each["Key"])
    assert [name for name in sent if not name.endswith(".manifest.json")] == ["breedclf.json", "model.safetensors"]


def test_a_tuning_job_of_the_service_gives_the_setting_again(images: Path, old: FitResult) -> None:
    pairs = training_spec(TrainingConfig(**settings(images, old)), name="job").hyperparameters
    channel = {
        "ChannelName": MODEL_CHANNEL,
        "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/breedclf/weights/model-0123/"}},
    }
    described = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "best_valid_loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "3"}]},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {name: value for name, value in pairs.items() if name != "epochs"},
            "InputDataConfig": [channel],
            "StoppingCondition": {"MaxRuntimeInSeconds": 3_600},
        },
    }
    config = search_request("dogs", described).config
    assert (str(config.start_from), config.weights) == ("s3:/bucket/breedclf/weights/model-0123", "start_from")
