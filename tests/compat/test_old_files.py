"""Files of every released version are read: models, checkpoints, runs, jobs, searches, caches and profiles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier, FitResult, Job, LocalBackend, ProfilingSession, Trainer, TrainingConfig, TuningJob
from tests.compat.conftest import ARCHIVES


@pytest.fixture(scope="module")
def expected(written: Path) -> dict[str, Any]:
    return dict(json.loads((written / "expected.json").read_text(encoding="utf-8")))


def config_of(written: Path, **changes: object) -> TrainingConfig:
    """The run's settings, with its folders where they are now."""
    places = {"data": written / "images", "weights": written / "weights.pth", "cache_dir": written / "cache"}
    return TrainingConfig.from_file(written / "run" / "config.json").replace(**places, **changes)


def test_there_are_files_and_all_are_small() -> None:
    assert "0.1.0.tar.xz" in [path.name for path in ARCHIVES]
    assert sum(path.stat().st_size for path in ARCHIVES) < 200_000


def test_a_model_predicts_the_same(written: Path, expected: dict[str, Any]) -> None:
    classifier = Classifier(written / "run" / "model", device="cpu", precision="fp32")
    assert list(classifier.card.labels) == expected["labels"]
    for name, probabilities in expected["probabilities"].items():
        assert classifier.probabilities([written / name])[0].tolist() == pytest.approx(probabilities, abs=1e-4)


def test_a_run_loads(written: Path, expected: dict[str, Any]) -> None:
    result = FitResult.load(written / "run")
    assert [epoch.valid_loss for epoch in result.history] == expected["history"]
    assert result.best_epoch == expected["best_epoch"]


def test_a_run_resumes_from_its_checkpoint_and_replaces_cached_features(
    written: Path, expected: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(written / "run", tmp_path / "run")
    assert list((written / "cache" / "features").glob("*.safetensors"))
    caplog.set_level("INFO", logger="breedclf")
    longer = config_of(written, output=tmp_path / "run", epochs=3, resume=True)
    history = Trainer(longer).fit().history
    assert [epoch.valid_loss for epoch in history[:2]] == expected["history"]
    assert len(history) == 3
    assert not (written / "cache" / "features").exists()
    assert caplog.text.count("MB of features that an older version cached") == 1
    whole = config_of(written, output=tmp_path / "again", epochs=3)
    assert history[2].valid_loss == pytest.approx(Trainer(whole).fit().history[2].valid_loss, rel=1e-4)


def test_a_job_is_found(written: Path, expected: dict[str, Any]) -> None:
    job = Job.attach("job", backend=LocalBackend(written / "home"))
    assert job.status == expected["job_status"]
    assert job.metrics == expected["metrics"]
    assert len(job.metric_history) >= len(expected["history"])
    assert any("epoch" in line for line in job.logs())
    assert [found.name for found in LocalBackend(written / "home").list_jobs()] == ["job"]


def test_a_search_is_found(written: Path, expected: dict[str, Any]) -> None:
    study = TuningJob.look("search", home=written / "home")
    assert [trial.name for trial in study.trials] == expected["trials"]
    tuning = TuningJob.attach("search", home=written / "home")
    assert tuning.status == "Completed"
    best = {"hyperparameters": tuning.best.hyperparameters, "objective": tuning.best.objective}
    assert best == expected["best"]
    assert Classifier(tuning.best.artifact, device="cpu").card.architecture == "resnet18"


def test_a_profile_is_read(written: Path) -> None:
    findings = ProfilingSession.attach(written / "run" / "profile").findings
    assert {finding.status for finding in findings} >= {"ok"}
