"""A whole training as a job: what is sent, and that each way to start it gives the same model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from breedclf import Classifier, LocalBackend, Trainer, TrainingConfig
from breedclf.api.training_job import training_spec
from breedclf.backends.common.bundle import breedclf_bundle
from breedclf.backends.common.folder import job_folder
from breedclf.backends.inline import InlineBackend
from breedclf.errors import DataError, WeightsError
from tests.backends.conftest import processes_of
from tests.integration.conftest import QUICK, write_patterns
from tests.waiting import until

QUICK_CPU = {**QUICK, "device": "cpu", "epochs": 2}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("job") / "pictures")


@pytest.fixture(scope="module")
def trained_here(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainingConfig(data=pictures, output=tmp_path_factory.mktemp("here"), **QUICK_CPU)
    return Trainer(config).fit().artifact


@pytest.fixture
def preloading(tmp_path: Path) -> Iterator[LocalBackend]:
    with_torch = LocalBackend(tmp_path / "home", gpus=(), preload=True)
    yield with_torch
    with_torch.close()
    until(lambda: not processes_of(with_torch.home))


def weights_of(artifact: Path) -> str:
    return hashlib.sha256((artifact / "model.safetensors").read_bytes()).hexdigest()


def test_paths_become_channels_and_settings_hyperparameters(pictures: Path, tmp_path: Path) -> None:
    weights = tmp_path / "resnet.pth"
    weights.write_bytes(b"")
    config = TrainingConfig(data=pictures, weights=str(weights), cache_dir=tmp_path, output=tmp_path, epochs=2)
    spec = training_spec(config, name="job")
    assert spec.channels == {"training": pictures, "weights": weights}
    assert spec.cache_dir == tmp_path
    assert spec.hyperparameters["epochs"] == "2"
    assert not {"data", "weights", "output", "cache_dir"} & set(spec.hyperparameters)
    request = LocalBackend(tmp_path / "home").request_for(spec)
    assert request["environment"]["BREEDCLF_CACHE_DIR"] == str(tmp_path)
    assert not (tmp_path / "home").exists()


def test_what_is_not_there_is_told_before_anything_starts(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an image folder"):
        Trainer(TrainingConfig(data=tmp_path / "gone"), backend="local").submit()
    with pytest.raises(WeightsError, match="is neither IMAGENET1K_V1, .* nor a file"):
        Trainer(TrainingConfig(data=pictures, weights=str(tmp_path / "gone.pth")), backend="local").submit()


def test_without_breedclf_installed_the_bundle_trains_the_same_model(
    pictures: Path, trained_here: Path, tmp_path: Path, bare_python: Path
) -> None:
    backend = LocalBackend(tmp_path / "home", gpus=(), python=bare_python)
    config = TrainingConfig(data=pictures, cache_dir=tmp_path / "cache", **QUICK_CPU)
    job = Trainer(config, backend=backend).submit(name="bare").wait(timeout=240)
    assert weights_of(job.artifact) == weights_of(trained_here)
    card = json.loads((job.artifact / "breedclf.json").read_text())
    assert card["bundle_sha256"] == breedclf_bundle().content_sha256
    assert job.metrics["best_valid_loss"] == card["metrics"]["valid_loss"]
    assert [record.values["epoch"] for record in job.metric_history if "epoch" in record.values] == [1, 2]
    assert len((job.output / "history.jsonl").read_text().splitlines()) == 2
    assert not (job.output / "model").exists()
    for name in (
        "code/inference.py",
        "code/requirements.txt",
        "code/breedclf/run.py",
        "config.yaml",
        "breedclf_ray.py",
    ):
        assert (job.artifact / name).is_file(), "the job's own archive deploys as it is"
    assert Classifier(job.artifact).predict(next((pictures / "test").rglob("*.png"))).top(1)[0].probability > 0.4


def test_jobs_from_the_preloaded_process_train_the_same_model(
    pictures: Path, trained_here: Path, preloading: LocalBackend
) -> None:
    trainer = Trainer(TrainingConfig(data=pictures, **QUICK_CPU), backend=preloading)
    first, second = (trainer.submit(name=f"job-{n}").wait(timeout=240) for n in range(2))
    assert weights_of(first.artifact) == weights_of(second.artifact) == weights_of(trained_here)
    supervisor_log = job_folder(preloading.home, "job-1").path / "supervisor.log"
    assert supervisor_log.read_text() == ""  # it was forked; the ordinary start after a failure is told there
    failing = Trainer(TrainingConfig(data=pictures.parent, **QUICK_CPU), backend=preloading).submit(name="failing")
    assert failing.wait(timeout=240, check=False).status == "Failed"
    assert "pictures" in str(failing.failure_reason)


def test_inline_trains_the_same_model_in_this_process(pictures: Path, trained_here: Path, tmp_path: Path) -> None:
    job = Trainer(TrainingConfig(data=pictures, **QUICK_CPU), backend=InlineBackend(tmp_path / "home")).submit()
    assert job.status == "Completed"
    assert weights_of(job.artifact) == weights_of(trained_here)
    assert job.metrics["epoch"] == 2
