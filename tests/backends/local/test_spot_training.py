"""A spot training job that is interrupted resumes from its last checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from breedclf import LocalBackend, Trainer, TrainingConfig
from breedclf.backends.common.folder import job_folder
from breedclf.jobs import SecondaryStatus
from tests.backends.conftest import processes_of
from tests.integration.conftest import RESNET, write_patterns
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local backend needs POSIX processes")

EPOCHS = 6


@pytest.mark.slow
def test_an_interrupted_spot_training_resumes_from_its_last_epoch(tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "images", counts={"train": 4, "valid": 2})
    config = TrainingConfig(
        data=pictures,
        cache_dir=tmp_path / "cache",
        output=tmp_path / "whole",
        device="cpu",
        feature_cache=False,  # slow enough to be interrupted
        epochs=EPOCHS,
        deterministic=True,
        **RESNET,  # type: ignore[arg-type]
    )
    backend = LocalBackend(tmp_path / "home", gpus=(), stop_grace_seconds=20)
    job = Trainer(config, backend=backend).submit(name="spot", spot=True)
    until(lambda: job.metrics.get("epoch", 0) >= 1 or job.describe().status.is_final)
    assert job.status == "InProgress", job.failure_reason
    backend.interrupt("spot")
    job.wait(timeout=200)
    states = [each.status for each in job.describe().transitions]
    assert SecondaryStatus.INTERRUPTED in states
    log = "\n".join(job.logs())
    assert "the training was stopped in epoch" in log
    assert "resuming after epoch" in log
    epochs = [record.values["epoch"] for record in job.metric_history if "epoch" in record.values]
    assert epochs == list(range(1, EPOCHS + 1)), "each epoch was trained once"
    assert len((job.output / "history.jsonl").read_text().splitlines()) == EPOCHS
    checkpoints = job_folder(backend.home, "spot").checkpoints / "training"
    assert len(list(checkpoints.glob("epoch-*.safetensors"))) == 2
    assert not list(job.output.glob("checkpoints"))
    whole = load_file(Trainer(config).fit().artifact / "model.safetensors")
    for name, values in load_file(job.artifact / "model.safetensors").items():
        assert values.allclose(whole[name], rtol=1e-3, atol=1e-5), name
    until(lambda: not processes_of(backend.home))
