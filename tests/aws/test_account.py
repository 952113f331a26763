"""The few cases on a real account, for some cents: `make test-aws`; without its settings they are skipped."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from breedclf import Classifier, Job, ProfilingSession, S3Dataset, SageMakerBackend, Trainer, TrainingConfig
from breedclf.errors import JobError
from breedclf.jobs import JobSpec
from breedclf.testing.backend_cases import script_source
from breedclf.testing.images import write_image_set

VARIABLE = "BREEDCLF_TEST_AWS"
# Read when the module is: within a test no variable of the shell's is left.
PLACE = {name.lower(): os.environ.get(f"{VARIABLE}_{name}", "") for name in ("ROLE", "BUCKET", "REGION")}

pytestmark = pytest.mark.skipif(
    os.environ.get(VARIABLE) != "1" or not all(PLACE.values()),
    reason=f"costs cents on a real account: {VARIABLE}=1, with {VARIABLE}_ROLE, _BUCKET and _REGION",
)


@pytest.fixture
def backend(tmp_path: Path) -> SageMakerBackend:
    """The account of the shell's credentials; nothing may cost more than half a dollar."""
    return SageMakerBackend(
        **PLACE,
        prefix=f"breedclf-test-{secrets.token_hex(4)}",
        max_cost=0.5,
        home=tmp_path / "home",
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_image_set(tmp_path / "images", classes=2, train=6, valid=3, test=2, size_px=64)


@pytest.fixture(autouse=True)
def _nothing_is_left(backend: SageMakerBackend) -> Iterator[None]:
    yield
    backend.storage.delete(backend.uri())


def test_a_data_set_is_sent_once(backend: SageMakerBackend, images: Path) -> None:
    first = S3Dataset.upload(images, backend.uri("data", "drawn"), backend=backend)
    assert first.sent_files == len(first.manifest.files)
    assert S3Dataset.upload(images, first.uri, backend=backend).sent_files == 0


def test_a_training_comes_back_with_model_metrics_log_and_profile(backend: SageMakerBackend, images: Path) -> None:
    """One ml.m5.large for some minutes."""
    small = SageMakerBackend(
        settings=backend.settings, clients=backend.clients, home=backend.home, instance_type="ml.m5.large", volume_gb=5
    )
    config = TrainingConfig(data=images, architecture="resnet18", weights="none", epochs=2)
    job = Trainer(config, backend=small).submit(max_runtime_seconds=1_800)
    job.wait(progress=True)
    assert [record.values["epoch"] for record in job.metric_history if "train_loss" in record.values] == [1, 2]
    assert any(line.startswith("breedclf-metrics ") for line in job.logs())
    assert Classifier(job.artifact).predict(next((images / "test").rglob("*.jpg"))).top(1)
    assert ProfilingSession.attach(job).profile.steps
    assert job.name in [each.name for each in small.list_jobs()]
    small.delete(job.name)
    with pytest.raises(JobError, match="no job"):
        small.describe(job.name)


def test_a_job_that_fails_tells_its_own_reason(backend: SageMakerBackend, tmp_path: Path) -> None:
    script = """
        import os, pathlib, sys
        pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("because of this")
        sys.exit(3)
    """
    name = f"breedclf-fails-{secrets.token_hex(4)}"
    backend.submit(JobSpec(name, source=script_source(tmp_path / "source", script), max_runtime_seconds=900))
    job = Job(name, backend).wait(check=False)
    assert job.status == "Failed"
    assert "because of this" in str(job.failure_reason)
