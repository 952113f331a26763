"""The bundle in SageMaker's own training toolkit, in the versions of its images: what starts a job there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from breedclf import Classifier, TrainingConfig
from breedclf.api.training_job import training_spec
from breedclf.backends.common.bundle import ARCHIVE, breedclf_bundle, store_bundle
from breedclf.backends.common.container import make_tree
from breedclf.backends.common.folder import JobFolder
from breedclf.jobs.metric_lines import TRAINING_METRICS, match_metrics
from tests.integration.conftest import RESNET, write_patterns


def test_the_toolkit_installs_the_bundle_and_trains(toolkit: Path, tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "pictures")
    config = TrainingConfig(data=pictures, device="cpu", epochs=2, **RESNET)
    spec = training_spec(config, name="job")
    folder = JobFolder(tmp_path / "job")
    archive = store_bundle(breedclf_bundle(), tmp_path) / ARCHIVE
    make_tree(folder, spec, archive)
    own = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": str(folder.base / "input" / "data" / "code" / ARCHIVE),
        "sagemaker_job_name": "job",
        "sagemaker_region": "eu-west-1",
    }
    file = folder.base / "input" / "config" / "hyperparameters.json"
    file.write_text(json.dumps({**spec.hyperparameters, **own}))
    environment = {
        "PATH": f"{toolkit}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TRAINING_JOB_NAME": "job",
        "SAGEMAKER_BASE_DIR": str(folder.base),
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "BREEDCLF_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [toolkit / "train"], env=environment, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "Reporting training SUCCESS" in said
    found = [match_metrics(line, TRAINING_METRICS.definitions) for line in said.splitlines()]
    assert [values["epoch"] for values in found if "epoch" in values] == [1, 2]
    assert "best_valid_loss" in [values for values in found if values][-1]
    assert Classifier(folder.model).card.labels == ("001.Lying", "002.Standing")


def test_the_toolkit_reports_what_our_entry_says_of_a_failure(toolkit: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = TrainingConfig(data=tmp_path / "empty", device="cpu", **RESNET)
    folder = JobFolder(tmp_path / "job")
    archive = store_bundle(breedclf_bundle(), tmp_path) / ARCHIVE
    make_tree(folder, training_spec(config, name="job"), archive)
    file = folder.base / "input" / "config" / "hyperparameters.json"
    own = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": str(archive),
        "sagemaker_region": "eu-west-1",
        "learning_rat": "1",
    }
    file.write_text(json.dumps(own))
    environment = {
        "PATH": f"{toolkit}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SAGEMAKER_BASE_DIR": str(folder.base),
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
    }
    done = subprocess.run(
        [toolkit / "train"], env=environment, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "unknown setting 'learning_rat': did you mean 'learning_rate'?" in done.stdout + done.stderr
    assert folder.failure_file.is_file()
